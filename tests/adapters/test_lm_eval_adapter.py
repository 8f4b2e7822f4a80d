"""midspan's models inside lm-eval, offline, with task files of one's own."""

import json
import warnings
from dataclasses import replace
from pathlib import Path

import pytest
from fixture_folders import BENCHMARKS

pytestmark = pytest.mark.filterwarnings("ignore")

from lm_eval import simple_evaluate  # noqa: E402
from lm_eval.api.instance import Instance  # noqa: E402
from lm_eval.tasks import TaskManager  # noqa: E402

from midspan.adapters.lm_eval import MidspanLM, Settings  # noqa: E402
from midspan.adapters.lm_eval_run import Evaluation, evaluate  # noqa: E402
from midspan.errors import MidspanError  # noqa: E402

DECODING = {"length": 8, "block_length": 8, "steps": 4}
YAML = """\
task: {name}
dataset_path: json
dataset_kwargs: {{data_files: {{test: {data}}}}}
output_type: {kind}
test_split: test
doc_to_text: "{{{{question}}}}"
doc_to_target: answer
{more}
metadata: {{version: 1.0}}
"""


@pytest.fixture
def tasks(tmp_path):
    """Two tasks over one local file."""
    rows = [{"question": f"what is {n} plus 1 ?", "answer": n % 2} for n in range(5)]
    data = tmp_path / "data.jsonl"
    data.write_text("\n".join(map(json.dumps, rows)))
    folder = tmp_path / "tasks"
    folder.mkdir()
    metric = "metric_list: [{metric: %s}]"
    for name, kind, more in (
        ("choose", "multiple_choice", "doc_to_choice: [compute, tell me]\n" + metric % "acc"),
        ("say", "generate_until", "generation_kwargs: {until: [sea]}\n" + metric % "exact_match"),
    ):
        (folder / f"{name}.yaml").write_text(
            YAML.format(name=name, kind=kind, data=data, more=more)
        )
    return folder


def request(kind, *args):
    return Instance(kind, {}, args, 0)


def model(organism_lm, **options):
    return MidspanLM(organism_lm, Settings(DECODING, draws=4, batch_size=2), **options)


def test_the_harness_runs_offline_on_local_files(organism_lm, tasks, monkeypatch, tmp_path):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    manager = TaskManager(include_path=str(tasks), include_defaults=False)
    lm = model(organism_lm)
    options = {"model": lm, "tasks": ["choose", "say"], "task_manager": manager}
    cache = lm.cache_path(tmp_path / "cache")
    found = simple_evaluate(**options, apply_chat_template=True, bootstrap_iters=0, use_cache=cache)
    assert found["n-samples"]["choose"]["effective"] == 5
    prompt = found["samples"]["say"][0]["arguments"][0][0]
    assert prompt == organism_lm.chat_text([{"role": "user", "content": "what is 0 plus 1 ?"}])

    def never(*_):
        raise AssertionError("computed again")

    monkeypatch.setattr("midspan.journal.generation.GenerationWork.compute", never)
    monkeypatch.setattr("midspan.adapters.lm_eval._Continuations.compute", never)
    again = simple_evaluate(**options, apply_chat_template=True, bootstrap_iters=0, use_cache=cache)
    assert again["results"] == found["results"]


def test_answers_are_cached_one_by_one_as_their_batch_is_done(organism_lm):
    lm, seen = model(organism_lm), []
    requests = [request("generate_until", f"{'please ' * n}what", {"until": []}) for n in range(5)]

    class Hook:
        def add_partial(self, kind, args, answer):
            seen.append((kind, args[0], answer))
            if len(seen) == 4:
                raise KeyboardInterrupt

    lm.set_cache_hook(Hook())
    with pytest.raises(KeyboardInterrupt):
        lm.generate_until(requests)
    assert len(seen) == 4
    lm.set_cache_hook(type("Hook", (), {"add_partial": lambda *_: None})())
    whole = dict(zip((one.args[0] for one in requests), lm.generate_until(requests), strict=True))
    assert all(whole[prompt] == answer for _, prompt, answer in seen)


def test_the_cache_is_of_one_model_and_one_setting(organism_lm):
    plain = model(organism_lm).cache_path("x")
    others = [
        MidspanLM(organism_lm, Settings({**DECODING, "steps": 8}, draws=4)),
        MidspanLM(organism_lm, Settings(DECODING, draws=8)),
        MidspanLM(organism_lm, Settings(DECODING, draws=4, seed=1)),
    ]
    assert len({plain, *(one.cache_path("x") for one in others)}) == 4


def test_a_stop_at_the_very_end_of_the_canvas_is_cut(organism_lm):
    lm = model(organism_lm)
    ask = ("generate_until", "what is 2 plus 2 ?")
    (whole,) = lm.generate_until([request(*ask, {"until": []})])
    last = whole.split()[-1]
    (short,) = lm.generate_until([request(*ask, {"until": [last]})])
    assert whole.endswith(last) and short == whole[: whole.index(last)]
    (same,) = lm.generate_until([request(*ask, {"until": last})])
    assert same == short


def test_chat_prompts_keep_their_special_tokens_and_prefixes(organism_lm):
    lm = model(organism_lm)
    history = [{"role": "user", "content": "what is 2 plus 2 ?"}]
    text = lm.apply_chat_template(history)
    assert organism_lm.encode_marked(text) == organism_lm.encode_chat(history)
    begun = lm.apply_chat_template([*history, {"role": "assistant", "content": "2 plus"}], False)
    assert begun == text + "2 plus"


def test_likelihoods_and_greedy_continuations(organism_lm):
    lm = model(organism_lm)
    asks = [("what is", " tell"), ("what is ", "tell me"), ("", "compute"), ("what", " is")]
    found = lm.loglikelihood([request("loglikelihood", *pair) for pair in asks])
    assert all(value < 0 for value, _ in found) and all(type(is_it) is bool for _, is_it in found)
    logits = organism_lm.logits(
        __import__("torch").tensor([[*organism_lm.encode_text("what is"), organism_lm.tokens.mask]])
    )
    best = organism_lm.tokenizer.decode([int(logits[0, -1].argmax())])
    ((_, greedy),) = lm.loglikelihood([request("loglikelihood", "what is", f" {best}")])
    assert greedy
    (total,) = lm.loglikelihood_rolling([request("loglikelihood_rolling", "what is 2 plus 2 ?")])
    assert total < 0


def test_long_prompts_lose_their_beginning_and_are_counted(organism_lm):
    lm = model(organism_lm)
    text = "please " * organism_lm.max_length
    lm.generate_until([request("generate_until", text, {"until": []})])
    assert lm.truncated == 1
    wide = MidspanLM(organism_lm, Settings({"length": organism_lm.max_length, "steps": 16}))
    with pytest.raises(MidspanError, match="leave no room for a prompt"):
        wide.generate_until([request("generate_until", "a", {"until": []})])


def test_long_contexts_lose_their_beginning_and_count_once_for_all_choices(organism_lm):
    lm, room = model(organism_lm), organism_lm.max_length
    # With an answer of one token this fits to the token; with one of two it does not.
    fits = " ".join(["please"] * (room - 1))
    asks = [("tell " + fits, " compute"), ("tell " + fits, " is"), (fits, " compute")]
    pairs = [lm._split(*ask) for ask in asks]
    whole = tuple(organism_lm.encode_text(fits))
    assert [front for front, _ in pairs] == [whole] * 3 and lm.truncated == 1
    assert len(lm._split(fits, " tell me")[0]) == room - 2 and lm.truncated == 2
    with pytest.raises(MidspanError, match=f"{room}; shorten"):
        lm.loglikelihood([request("loglikelihood", "what", " please" * room)])


@pytest.mark.parametrize(("rank", "expected"), [(0, 3), (1, 0)])
def test_cut_prompts_of_all_processes_are_counted_once(organism_lm, monkeypatch, rank, expected):
    long, lms = "please " * organism_lm.max_length, [model(organism_lm) for _ in range(2)]
    for lm, words in zip(lms, (("a", "b"), ("b", "what")), strict=True):
        for word in words:
            lm._prompt_ids(long + word, 8)
        monkeypatch.setattr(lm, "_world_size", 2)
    own, other = lms
    gathered = [lm._cut for lm in (own, other)] if rank == 0 else None
    monkeypatch.setattr(own, "gather_object", lambda _: gathered)
    assert (own.truncated, own.truncated_of_all()) == (2, expected)


def test_the_command_counts_cut_contexts_of_choices(organism_folder, tasks, tmp_path):
    rows = [{"question": "please " * n, "answer": 0} for n in (1, 600, 700)]
    (tmp_path / "data.jsonl").write_text("\n".join(map(json.dumps, rows)))
    wanted = Evaluation(("choose",), tasks, False, None, DECODING, 2)
    text = evaluate(str(organism_folder), wanted, tmp_path / "run", "midspan task")
    assert text.endswith("truncated prompts: 2")


def test_settings_of_the_task_that_do_not_hold_are_named(organism_lm):
    lm = model(organism_lm)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        arguments = {"until": [], "max_gen_toks": 3, "temperature": 0.5}
        lm.generate_until([request("generate_until", "what", arguments)])
    assert "lm-eval's max_gen_toks, temperature is ignored" in str(caught[0].message)


_INIT = TaskManager.__init__


def _own_files_alone(self, **options):
    _INIT(self, **options | {"include_defaults": False})


def test_the_command_resumes_from_its_journal(organism_folder, tasks, tmp_path, monkeypatch):
    wanted = Evaluation(("say",), tasks, True, 3, DECODING, 2)
    text = evaluate(str(organism_folder), wanted, tmp_path / "run", "midspan task")
    assert "say  exact_match (none)" in text and "n=3" in text
    page = json.loads((tmp_path / "run" / "results.json").read_text())
    assert page["decoding"]["steps"] == 4
    samples = (tmp_path / "run" / "samples.jsonl").read_text()

    def never(*_):
        raise AssertionError("decoded again")

    monkeypatch.setattr("midspan.journal.generation.GenerationWork.compute", never)
    evaluate(str(organism_folder), wanted, tmp_path / "run", "midspan task")
    assert (tmp_path / "run" / "samples.jsonl").read_text() == samples
    journal = (tmp_path / "run" / "journal.jsonl").read_bytes()
    for rank in "01":
        monkeypatch.setenv("RANK", rank)
        monkeypatch.setenv("WORLD_SIZE", "2")
        with pytest.raises(MidspanError, match="holds a run of another configuration"):
            evaluate(str(organism_folder), replace(wanted, seed=1), tmp_path / "run", "")
    monkeypatch.delenv("RANK")
    monkeypatch.delenv("WORLD_SIZE")
    journals = {path.name: path.read_bytes() for path in (tmp_path / "run").glob("journal*")}
    assert journals == {"journal.jsonl": journal}
    monkeypatch.setattr("lm_eval.tasks.TaskManager.__init__", _own_files_alone)
    with pytest.raises(MidspanError, match="nonsense is no task of lm-eval"):
        evaluate(str(organism_folder), Evaluation(("nonsense",), tasks), Path("x"), "")


def test_the_documented_task_file_runs_offline(organism_lm, tmp_path, monkeypatch):
    import lm_eval

    monkeypatch.setenv("HF_DATASETS_OFFLINE", "1")
    page = Path(__file__).parents[2] / "docs" / "lm-eval.md"
    data = BENCHMARKS / "gsm8k"
    text = page.read_text().partition("```yaml\n")[2].partition("```")[0]
    text = text.replace("LM_EVAL", str(Path(lm_eval.__file__).parent)).replace("GSM8K", str(data))
    (tmp_path / "local_gsm8k.yaml").write_text(text)
    manager = TaskManager(include_path=str(tmp_path), include_defaults=False)
    options = {"apply_chat_template": True, "bootstrap_iters": 0, "limit": 2}
    lm = model(organism_lm)
    found = simple_evaluate(model=lm, tasks=["local_gsm8k"], task_manager=manager, **options)
    assert found["n-samples"]["local_gsm8k"] == {"original": 1319, "effective": 2}
    assert lm.truncated == 2  # eight examples do not fit this model
