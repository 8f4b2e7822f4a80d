"""`midspan generate` on a model behind a server: its answer, or what no server does by name."""

import json

import pytest
from odd_server import MODELS, VERDICT, completion, serving
from typer.testing import CliRunner

from midspan.commands import app


@pytest.fixture(scope="module")
def server():
    thinking = (200, completion("Blue.", reasoning_content="The sky scatters."))
    with serving({**MODELS, "thinking": thinking}) as running:
        yield running


def generate(server, model, *options, config=None):
    spec = f"{server.url}#{model}"
    if config is not None:
        file, fields = config
        file.write_text(json.dumps(fields | {"servers": {spec: fields.pop("server", {})}}))
        options = (*options, "--config", str(file))
    return CliRunner().invoke(app, ["generate", spec, "-p", "hello there", *options])


def error_of(done):
    assert done.exit_code and done.stdout == ""
    return str(done.exception)


def test_the_answer_and_what_was_asked(server, tmp_path):
    before = len(server.bodies)
    options = ("--temperature", "0.5", "--length", "40", "--seed", "7")
    done = generate(server, "thinking", *options, "--json", str(tmp_path / "made.json"))
    assert done.exit_code == 0 and done.stdout == "Blue.\n"
    contact, asked = server.bodies[before:]
    assert contact["messages"] != asked["messages"]
    assert asked == {
        "model": "thinking", "messages": [{"role": "user", "content": "hello there"}],
        "temperature": 0.5, "seed": 7, "max_tokens": 40,
    }  # fmt: skip
    made = json.loads((tmp_path / "made.json").read_text())
    assert made["text"] == "Blue." and made["thoughts"] == "The sky scatters."
    assert made["usage"] == {"prompt_tokens": 10, "tokens": 5}
    assert made["trace"] is None and made["tokens"] is None
    assert made["settings"] == {"temperature": 0.5, "length": 40}


def test_a_server_s_settings_are_those_of_the_file(server, tmp_path):
    fields = {"top_p": 0.9, "server": {"omit": ["seed"], "extra_body": {"effort": "low"}}}
    done = generate(server, "good", config=(tmp_path / "served.yaml", fields))
    assert done.exit_code == 0 and done.stdout == f"{VERDICT}\n"
    assert server.bodies[-1].keys() == {"model", "messages", "top_p", "effort"}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--watch",), "--watch: .* shows no steps; watch a local model"),
        (("--anchor", "4:now"), "^anchor: needs anchors; .*#good gives chat alone"),
        (
            ("--steps", "8", "--cache", "dual"),
            "^steps, cache: needs decoding; .* gives chat",
        ),
        (("--rule", "past_end"), "^rules: needs decoding; .*#good gives chat alone"),
    ],
)
def test_what_a_server_cannot_do_is_refused_by_name(server, options, message):
    before = [body["messages"] for body in server.bodies]
    done = generate(server, "good", *options)
    with pytest.raises(Exception, match=message):
        raise done.exception
    asked = [body["messages"][0]["content"] for body in server.bodies[len(before) :]]
    assert "hello there" not in asked


def test_a_value_that_means_nothing_is_sent_to_no_server(server):
    before = len(server.bodies)
    done = generate(server, "good", "--temperature", "-1")
    assert done.exit_code == 2 and "--temperature" in done.stderr
    assert len(server.bodies) == before


@pytest.mark.parametrize(
    ("model", "message"),
    [
        ("unknown", "no such model; are the address and the model's name right?"),
        ("html", "a page, not JSON"),
        ("filter", "no answer came: the server's content filter held the reply back"),
        ("thinking-cut", "no answer came before the limit of tokens"),
    ],
)
def test_no_answer_is_an_error_in_the_server_s_words(server, tmp_path, model, message):
    fields = {"server": {"attempts": 2, "backoff": 0}}
    assert message in error_of(generate(server, model, config=(tmp_path / "served.yaml", fields)))
