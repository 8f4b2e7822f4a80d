"""The probe commands and their options come from the registry and the configs of the probes."""

import subprocess
import sys

import pytest
import yaml
from pydantic import BaseModel, Field
from typer.main import get_command

from midspan.commands import app
from midspan.commands.generated import attribute_docs, field_options, set_field
from midspan.errors import MidspanError
from midspan.studies.probes.config import ProbeSpec
from midspan.studies.probes.registry import PROBES
from midspan.studies.probes.run import ProbeResult

SHARED = {"-n", "--config", "--batch-size", "--seed", "--output"}


class Inner(BaseModel):
    """A group.

    Attributes:
        steps: How many
            there are.
        seed: Not an option.
    """

    steps: int = Field(3, ge=1)
    seed: int = 0


class Outer(BaseModel):
    """A config.

    Attributes:
        places: Where.
        start: From here on.
        search: The group.
    """

    places: tuple[float, ...] = (0.5,)
    start: int | None = 4
    search: Inner = Inner()


def test_fields_become_options():
    options = field_options(Outer, without=("seed",))
    assert {name: option.path for name, option in options.items()} == {
        "places": ("places",), "start": ("start",), "steps": ("search", "steps"),
    }  # fmt: skip
    kinds = {name: option.annotation.__origin__ for name, option in options.items()}
    assert kinds == {"places": list[float] | None, "start": int | None, "steps": int | None}
    (steps,) = options["steps"].annotation.__metadata__
    assert (steps.help, steps.min) == ("How many there are.", 1)
    (places,) = options["places"].annotation.__metadata__
    assert places.help == "Where. Repeatable."


def test_a_nested_field_is_set_beside_those_of_the_file():
    fields = {"search": {"width": 2}}
    set_field(fields, ("search", "steps"), 5)
    set_field(fields, ("start",), 1)
    assert fields == {"search": {"width": 2, "steps": 5}, "start": 1}
    with pytest.raises(MidspanError, match="start: must hold field: value lines"):
        set_field(fields, ("start", "steps"), 5)


@pytest.mark.parametrize("name", PROBES)
def test_every_field_of_a_probe_is_documented(name):
    config = PROBES[name].resolve("config")
    assert attribute_docs(config).keys() == config.model_fields.keys()


@pytest.mark.parametrize(
    ("name", "own"),
    [
        ("prefill", {"--behaviors", "--benign", "--phrases", "--request-kinds", "--positions"}),
        ("window", {"--behaviors", "--phrases", "--request-kinds", "--stride"}),
        ("gcg", {"--behaviors", "--phrases", "--request-kinds", "--steps", "--starts"}),
        ("instruction-placement", {"--benign", "--phrases", "--words"}),
        ("order", {"--behaviors", "--benign", "--request-kinds", "--shuffles"}),
        ("activations", {"--behaviors", "--benign", "--request-kinds", "--layers"}),
        ("samples", {"--behaviors", "--benign", "--phrases", "--request-kinds", "--start"}),
        ("monitors", {"--behaviors", "--benign", "--mixed", "--phrases", "--conditions"}),
    ],
)
def test_a_probe_takes_its_inputs_and_fields(name, own):
    command = get_command(app).commands["probe"].commands[name]
    options = {option for parameter in command.params for option in parameter.opts}
    assert own | SHARED <= options
    inputs = {"--behaviors", "--benign", "--mixed", "--phrases", "--request-kinds"}
    assert inputs & options == inputs & own


def test_options_win_over_the_file(tmp_path, monkeypatch):
    given = []

    def run_prepared(prepared, *_, **__):
        given.append(prepared.spec)
        return ProbeResult([], [])

    monkeypatch.setattr("midspan.studies.probes.run.run_prepared", run_prepared)
    file = tmp_path / "gcg.yaml"
    file.write_text(yaml.safe_dump({"search": {"steps": 9, "top_k": 4}, "starts": [7]}))
    line = ["probe", "gcg", "organism", "--config", str(file), "--no-round-trip"]
    line += ["--steps", "2", "--starts", "0", "--starts", "20"]
    get_command(app).main(line, standalone_mode=False)
    search = {"steps": 2, "top_k": 4, "round_trip": False}
    assert given == [
        ProbeSpec(probe="gcg", models=("organism",), fields={"search": search, "starts": [0, 20]})
    ]


def test_listing_the_probes_does_not_load_them():
    code = "import sys, midspan.cli\ntry:\n    midspan.cli.main()\nexcept SystemExit:\n    "
    code += "print('torch' in sys.modules, 'numpy' in sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", code, "probe", "--help"], capture_output=True, text=True, check=True
    )
    assert "instruction-placement" in done.stdout and done.stdout.endswith("False False\n")
