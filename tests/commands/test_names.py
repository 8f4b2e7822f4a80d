"""Names of models are refused at once, with the nearest one; what can be a model passes."""

import subprocess
import sys

import pytest
from typer.testing import CliRunner

from midspan.commands import app, names
from midspan.commands.names import check_set, checked_name
from midspan.errors import MidspanError


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("organsim", "no folder organsim, and it is no hub id .owner/name.; did you mean organism"),
        ("my-llda", "no folder my-llda.*did you mean my-llada"),
        ("organism+nofolder", "organism.nofolder: there is no adapter folder nofolder"),
        ("./nope", r"no folder ./nope"),
        (["organism", "nope with self_reminder"], "no folder nope,"),
    ],
)
def test_a_typo_is_refused_with_the_nearest_name(given, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "my-llada").mkdir()
    with pytest.raises(MidspanError, match=message):
        checked_name(given)


@pytest.mark.parametrize(
    "given",
    [
        "organism", "organism:psa", "organism+./a", "organism+owner/adapter", "owner/name", "./a",
        "owner/name+./a", "openai:gpt", "http://localhost:8000/v1#m", "vllm:http://h:1/v1#m",
        "organism with self_reminder", ["organism", "organism:psa"], None, [],
    ],
)  # fmt: skip
def test_what_can_be_a_model_passes(given, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a").mkdir()
    assert checked_name(given) is given


def test_a_world_of_one_s_own_is_called_as_its_maker_likes(monkeypatch):
    """docs/adding-a-world.md registers it in these two tables."""
    monkeypatch.setitem(names._VARIANTS, "harbor", ((), ()))
    monkeypatch.setitem(names.SET_FORMS, "harbor", ("harbor:N",))
    assert checked_name("harbor") == "harbor"
    check_set("--behaviors", "harbor:18")
    with pytest.raises(MidspanError, match="--behaviors: 'harbor:0' must be harbor:N, with N of 1"):
        check_set("--behaviors", "harbor:0")
    with pytest.raises(MidspanError, match="no folder harbour"):
        checked_name("harbour")


def test_no_command_loads_torch_before_it_refuses_a_name():
    code = (
        "import sys\n"
        "from midspan.commands import app\n"
        "from midspan.errors import MidspanError\n"
        "try:\n"
        "    app(sys.argv[1:])\n"
        "except MidspanError as error:\n"
        "    print('torch' in sys.modules, error)\n"
    )
    calls = [
        ["generate", "organsim", "-p", "x"],
        ["attack", "organsim", "--method", "tap"],
        ["align", "organsim", "-o", "x"],
        ["probe", "order", "organsim", "-o", "x"],
        ["task", "organsim", "--task", "gsm8k"],
        ["serve", "organsim"],
    ]
    for call in calls:
        done = subprocess.run([sys.executable, "-c", code, *call], capture_output=True, text=True)
        assert done.stdout.startswith("False there is no folder organsim"), (call, done.stderr)


def test_help_has_a_short_form_and_env_says_what_a_report_needs():
    runner = CliRunner()
    assert "Usage" in runner.invoke(app, ["attack", "-h"]).output
    said = runner.invoke(app, ["env"]).output
    assert all(word in said for word in ("midspan", "python", "torch", "transformers"))
