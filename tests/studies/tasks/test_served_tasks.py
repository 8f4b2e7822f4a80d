"""Tasks put to served models: the same items, journalled, with what was not answered told."""

import pytest
from odd_server import completion, error, serving

from midspan.engine.server import EndpointConfig
from midspan.errors import MidspanError
from midspan.journal.journal import Journal
from midspan.studies.tasks.config import TaskConfig
from midspan.studies.tasks.prepare import prepare
from midspan.studies.tasks.run import estimate, problems_of, run_tasks
from midspan.studies.tasks.servers import ServedModel
from midspan.tasks.compare import rows
from midspan.tasks.fit import How
from midspan.tasks.served import run_served, served_settings
from midspan.tasks.task import Item, Preset, Prompt, Task, user

QUICK = {"attempts": 1, "backoff": 0, "timeout": 10}


@pytest.fixture
def server():
    with serving({}) as running:
        running.models["m"] = answer
        yield running


def answer(body):
    """What was asked, again."""
    return 200, completion(body["messages"][-1]["content"])


def config_of(server, **fields):
    spec = f"{server.url}#m"
    usual = {"tasks": ("arithmetic",), "items": 12, "servers": {spec: QUICK}}
    return TaskConfig(models=(spec,), **usual | fields)


def test_a_task_is_put_to_a_server_once(server, tmp_path):
    config = config_of(server)
    (result,) = run_tasks(config, tmp_path / "run", "a test")
    (rows,) = result.records.values()
    assert len(rows) == 12 and len(server.bodies) == 12 + 1  # the first contact
    by_prompt = {body["messages"][-1]["content"] for body in server.bodies[1:]}
    assert {row["response"] for row in rows} == by_prompt
    assert all(body["temperature"] == 0 and body["max_tokens"] for body in server.bodies[1:])
    assert result.settings["served"]["engine"] == "openai" and "decoding" not in result.settings
    assert "answered by a server" in (tmp_path / "run" / "report.md").read_text()
    run_tasks(config, tmp_path / "run", "a test")
    assert len(server.bodies) == 13


def test_what_was_not_answered_is_told_and_asked_again(server, tmp_path):
    refused = [400, error("not now")]
    server.models["m"] = lambda body: (
        tuple(refused) if len(server.bodies) % 3 == 0 else (200, completion("no"))
    )
    (result,) = run_tasks(config_of(server), tmp_path / "run", "a test")
    lost = [row for row in result.records[f"{server.url}#m"] if "error" in row["verdict"]]
    assert 0 < len(lost) < 12 and "HTTP 400 not now" in lost[0]["verdict"]["error"]
    assert problems_of([result])
    (figure,) = (row.figure for row in rows(result.measures, result.records[f"{server.url}#m"]))
    assert (figure.n, figure.unknown) == (12, len(lost))  # every item counts
    server.models["m"] = (200, completion("no"))
    sent = len(server.bodies)
    (again,) = run_tasks(config_of(server), tmp_path / "run", "a test")
    assert len(server.bodies) - sent == len(lost) and not problems_of([again])


def test_a_server_that_answers_nothing_ends_the_task(server, tmp_path):
    server.models["m"] = (400, error("never"))
    with pytest.raises(MidspanError, match="arithmetic: .* gave not one answer .*never"):
        run_tasks(config_of(server), tmp_path / "run", "a test")


def test_defences_of_conversations_stand_before_a_server_and_others_are_refused(server, tmp_path):
    spec = f"{server.url}#m"
    config = config_of(server).model_copy(update={"models": (f"{spec} with self_reminder",)})
    run_tasks(config, tmp_path / "run", "a test")
    inside = config.model_copy(update={"models": (f"{spec} with early_reject",)})
    with pytest.raises(MidspanError, match="early_reject acts in the decoder"):
        run_tasks(inside, tmp_path / "other", "a test")


def test_likelihoods_and_plain_prompts_are_not_asked_of_a_server(server):
    assert served_settings(one_item(), How(), "vllm")["served"]["max_tokens"] == 8
    with pytest.raises(MidspanError, match="t: scores likelihoods of whole options"):
        served_settings(one_item(length=0), How(), "vllm")
    with pytest.raises(MidspanError, match="t: the prompts of preset p are plain text"):
        served_settings(one_item(chat=False), How(), "vllm")


def test_settings_of_decoding_go_before_the_presets_and_a_server_takes_three(server, tmp_path):
    config = config_of(server, decoding={"temperature": 0.5, "length": 9, "top_p": None})
    (result,) = run_tasks(config, tmp_path / "run", "a test")
    sent = {(body["temperature"], body["max_tokens"]) for body in server.bodies[1:]}
    assert sent == {(0.5, 9)} and not any("top_p" in body for body in server.bodies[1:])
    engine = {"engine": "openai"}
    assert result.settings["served"] == {**engine, "temperature": 0.5, "max_tokens": 9}
    nucleus = config_of(server, decoding={"top_p": 0.9})
    run_tasks(nucleus, tmp_path / "nucleus", "a test")
    assert server.bodies[-1]["top_p"] == 0.9
    assert "nucleus of 0.9" in (tmp_path / "nucleus" / "report.md").read_text()
    with pytest.raises(MidspanError, match="decoding.steps: a server takes length, temperature"):
        run_tasks(config_of(server, decoding={"steps": 4}), tmp_path / "other", "a test")


def test_several_samples_are_several_answers_or_refused(server, tmp_path):
    task, spec = one_item(samples=4), f"{server.url}#m"
    server.models["m"] = lambda body: (200, completion(f"{len(server.bodies)}"))
    with pytest.raises(MidspanError, match="t: 4 samples need temperature above 0"):
        served_settings(task, How(), "openai")
    warm = How(overrides={"temperature": 0.8})
    assert served_settings(task, warm, "openai")["served"]["temperature"] == 0.8
    served = ServedModel(spec, EndpointConfig.from_spec(spec, **QUICK))
    served.check([task])
    with Journal(tmp_path / "journal.jsonl") as journal:
        rows = run_served(served.role, spec, task, journal, warm)
    assert len({row["response"] for row in rows}) == 4 == len(server.bodies)
    assert {body["temperature"] for body in server.bodies} == {0.8}
    greedy = EndpointConfig.from_spec(spec, capabilities={"draws": False})
    with pytest.raises(MidspanError, match="t: needs draws"):
        ServedModel(spec, greedy).check([task])


def one_item(length=8, chat=True, samples=1):
    preset = Preset(name="p", prompt="", length=length, samples=samples)
    return Task(
        "t", preset, (Item("1", {}),),
        lambda item, shots: Prompt((user("x"),), chat=chat), lambda item, said: {},
    )  # fmt: skip


def test_hours_are_not_estimated_of_a_server(server):
    with pytest.raises(MidspanError, match="--dry-run: times models that are decoded here"):
        estimate(prepare(config_of(server)))
