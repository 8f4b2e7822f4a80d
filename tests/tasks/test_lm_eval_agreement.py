"""Our prompts and scores against lm-eval's own, item by item."""

import gzip
import json
from pathlib import Path

import pytest
from fixture_folders import BENCHMARKS

from midspan.tasks import gsm8k, humaneval, mmlu

pytestmark = pytest.mark.filterwarnings("ignore")

# What a model may answer: right, wrong, several numbers, none, thousands, other digits, stops.
GSM8K_ANSWERS = (
    "The answer is {gold}.",
    "So 3 + 4 = 7. The answer is {gold}",
    "The answer is ${gold}.00.",
    "{gold}",
    "The answer is 1,{gold}. Q: What is 5?\nA: The answer is 5.",
    "no number at all",
    "",
    "The answer is \u0661\u0662.",
    "first 1, then -2.5, at last {gold}",
    "The answer is {gold}. It costs $9.",
    "<|im_end|>The answer is {gold}.",
)
MMLU_ANSWERS = (
    " {gold}",
    "{gold}.",
    "({gold})\nbecause",
    "\n{gold}",
    "none",
    "",
    "{gold} {gold}",
    "</s>{gold}",
)
CODE_ANSWERS = (
    "    return 1\n```\nDone.",
    "    return 1",
    "    return 1\ndef g():\n    pass",
    "x\n# y",
    "",
)


def as_json(history, add_generation_prompt=True):
    return json.dumps([history, add_generation_prompt])


@pytest.fixture(scope="module")
def harness():
    from lm_eval.tasks import TaskManager

    folder = Path(__import__("lm_eval").__file__).parent / "tasks"
    return TaskManager(include_path=None, include_defaults=False), folder


def local_task(harness, tmp_path, include, files, **changes):
    """lm-eval's own task over local files, from a YAML file as a user would write it."""
    import yaml
    from lm_eval.tasks import TaskManager

    _, folder = harness
    config = {
        "task": "local",
        "include": str(folder / include),
        "dataset_path": "json",
        "dataset_name": None,
        "dataset_kwargs": {"data_files": {split: str(file) for split, file in files.items()}},
        **changes,
    }
    place = tmp_path / "yaml"
    place.mkdir()
    (place / "local.yaml").write_text(yaml.safe_dump(config))
    manager = TaskManager(include_path=str(place), include_defaults=False)
    loaded = manager.load(["local"])
    return loaded["tasks"]["local"]


def contexts(task):
    """Prompt messages and whether the assistant's turn has begun, for every document."""
    docs = list(task.eval_docs)
    return docs, [
        json.loads(
            task.fewshot_context(
                doc,
                num_fewshot=task.config.num_fewshot or 0,
                apply_chat_template=True,
                fewshot_as_multiturn=True,
                chat_template=as_json,
                gen_prefix=task.doc_to_prefix(doc),
            )
        )
        for doc in docs
    ]


def messages_of(task, item):
    prompt = task.prompt(item, task.preset.shots)
    begun = [{"role": "assistant", "content": prompt.prefix}] if prompt.prefix else []
    return [[*prompt.messages, *begun], not begun]


def their_scores(task, docs, responses, metric):
    """lm-eval's filters and metric on given responses, by filter."""
    from lm_eval.api.instance import Instance

    until = task.config.generation_kwargs["until"]
    instances = [
        Instance("generate_until", doc, ("", {}), number, resps=[_stopped(text, until)])
        for number, (doc, text) in enumerate(zip(docs, responses, strict=True))
    ]
    found = {}
    for ensemble in task._filters:
        ensemble.apply(instances)
        found[ensemble.name] = [
            task.process_results(one.doc, [one.filtered_resps[ensemble.name]])[metric] == 1
            for one in instances
        ]
    return found


def _stopped(text, until):
    """As lm-eval's own models cut: one stop after the other."""
    for stop in until:
        text = text.split(stop)[0]
    return text


@pytest.fixture
def gsm8k_file(tmp_path):
    rows = (BENCHMARKS / "gsm8k" / "test.jsonl").read_text().splitlines()[::40]
    file = tmp_path / "test.jsonl"
    file.write_text("\n".join(rows))
    return file


def test_gsm8k(harness, tmp_path, gsm8k_file):
    theirs = local_task(harness, tmp_path, "gsm8k/gsm8k-cot.yaml", {"test": gsm8k_file})
    ours = gsm8k.load("lm-eval", gsm8k_file)
    docs, prompts = contexts(theirs)
    assert len(docs) == len(ours.items) > 30
    assert [messages_of(ours, item) for item in ours.items] == prompts
    assert list(ours.preset.until) == theirs.config.generation_kwargs["until"]
    for form in GSM8K_ANSWERS:
        responses = [form.format(gold=item.fields["gold"]) for item in ours.items]
        scored = their_scores(theirs, docs, responses, "exact_match")
        mine = [ours.score(item, text) for item, text in zip(ours.items, responses, strict=True)]
        assert [one["success"] for one in mine] == scored["flexible-extract"], form
        assert [one["strict"] for one in mine] == scored["strict-match"], form


def test_mmlu_by_generation(harness, tmp_path, mmlu_folder):
    theirs, ours, docs, prompts, items = _anatomy(harness, tmp_path, mmlu_folder, "generative")
    assert [messages_of(ours, item) for item in items] == prompts
    assert list(ours.preset.until) == theirs.config.generation_kwargs["until"]
    for form in MMLU_ANSWERS:
        responses = [form.format(gold="ABCD"[item.fields["answer"]]) for item in items]
        scored = their_scores(theirs, docs, responses, "exact_match")["get_response"]
        mine = [ours.score(item, text) for item, text in zip(items, responses, strict=True)]
        assert [one["success"] for one in mine] == scored, form


def test_mmlu_by_likelihood(harness, tmp_path, mmlu_folder):
    theirs, ours, docs, prompts, items = _anatomy(harness, tmp_path, mmlu_folder, "default")
    assert [messages_of(ours, item) for item in items] == prompts
    for doc, item in zip(docs, items, strict=True):
        built = theirs.construct_requests(
            doc, "", metadata=("local", 0, 1), apply_chat_template=True, doc_id=0
        )
        assert tuple(one.args[1] for one in built) == ours.options(item)
        for best in range(4):
            values = [(float(place == best), False) for place in range(4)]
            theirs_says = theirs.process_results(doc, values)["acc"] == 1
            assert ours.score(item, ours.options(item)[best].strip())["success"] == theirs_says


def _anatomy(harness, tmp_path, folder, kind):
    for split in ("test", "dev"):
        rows = [json.loads(line) for line in (folder / f"{split}.jsonl").read_text().splitlines()]
        kept = [json.dumps(row) for row in rows if row["subject"] == "anatomy"]
        (folder / f"{split}.jsonl").write_text("\n".join(kept))
    files = {split: folder / f"{split}.jsonl" for split in ("test", "dev")}
    about = "The following are multiple choice questions (with answers) about anatomy.\n\n"
    include = f"mmlu/{kind}/_default_template_yaml"
    theirs = local_task(harness, tmp_path, include, files, description=about)
    ours = mmlu.load("lm-eval", folder, likelihood=kind == "default")
    docs, prompts = contexts(theirs)
    assert len(docs) == len(ours.items) == 4
    return theirs, ours, docs, prompts, ours.items


def test_humaneval(harness, tmp_path, monkeypatch):
    """Programs, that is all that is left to run; lm-eval's code asks the hub when imported."""
    import evaluate

    monkeypatch.setattr(evaluate, "load", lambda name: _NothingToRun())
    file = tmp_path / "test.jsonl"

    text = gzip.decompress((BENCHMARKS / "humaneval" / "HumanEval.jsonl.gz").read_bytes()).decode()
    file.write_text("\n".join(text.splitlines()[::4]))
    theirs = local_task(harness, tmp_path, "humaneval/humaneval_instruct.yaml", {"test": file})
    ours = humaneval.load("lm-eval", file, force=True)
    docs, prompts = contexts(theirs)
    assert len(docs) == len(ours.items) == 41
    assert [messages_of(ours, item) for item in ours.items] == prompts
    assert list(ours.preset.until) == theirs.config.generation_kwargs["until"]
    build = humaneval.SOLUTIONS["lm-eval"]
    from lm_eval.api.instance import Instance

    for text in CODE_ANSWERS:
        said = _stopped(text, ours.preset.until)
        instances = [
            Instance("generate_until", doc, ("", {}), n, resps=[said]) for n, doc in enumerate(docs)
        ]
        theirs._filters[0].apply(instances)
        programs = [one.filtered_resps["create_test"] for one in instances]
        assert [[build(item, text)] for item in ours.items] == programs


class _NothingToRun:
    def compute(self, **_):
        return ({}, {})
