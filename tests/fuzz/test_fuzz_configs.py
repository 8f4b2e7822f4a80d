"""YAML configurations, damaged: refused in a line that names the place, or read as they are."""

import math

import pytest
import yaml
from fuzzing import fuzzed, tried
from hypothesis import given
from hypothesis import strategies as st
from mutants import damaged, json_files, put

from midspan.alignment import AlignmentConfig
from midspan.commands.options import configure, read_config
from midspan.studies.redteam.config import RedteamConfig
from midspan.studies.redteam.presets import organism_redteam, redteam_fields
from midspan.studies.training import preset_recipe

REDTEAM = """\
behaviors: my.csv:10
judges: [strongreject=openai:x, refusal-keywords]
seed: 3
decoding: &d {length: 64, steps: 8, temperature: 0.5}
budget: {target: 4}
servers:
  "http://127.0.0.1:1/v1#m": {timeout: 3.5, omit: [seed]}
tap: {depth: 3, branching: 2}
"""
MORE = """\
text: |
  one
  two
copy: *d
"""
ALIGN = {"num_prompts": 8, "learning_rate": 0.1, "probes": {"every": 2}, "seed": 1, "name": "a"}
PIECES = (
    *("!!python/object:os.system {}", "!!int a", "!!binary a", "!!timestamp b", "!!bool c"),
    *("!!set {a}", "2001-99-99", "2001-01-01", "&a [*a]", "{<<: 3}", "{[1]: 2}", "? a", "~"),
    *(".nan", ".inf", "0o9", "1:99", "'", '"', '"\\ud83d"', "\t", "[" * 2000, "{a: " * 500),
    *("- " * 500, "%YAML 9.9\n---\n", "---\n", "\u2028", "\x85", "\ufeff", "9" * 5000, "no"),
    *("<<", "=", "\0", "\x1b", "*d", "seed: 4\n", "null"),
)


def bomb(line):
    """Nine times nine times nine ... values in ten lines."""
    lines = [line.format(n + 1, ", ".join([f"*a{n}"] * 9)) for n in range(9)]
    return "\n".join(["a0: &a0 {x: 1}", *lines])


@st.composite
def yaml_files(draw, content=REDTEAM + MORE):
    for _ in range(draw(st.integers(0, 3))):
        at = draw(st.integers(0, len(content)))
        piece = draw(st.sampled_from(PIECES))
        content = content[:at] + piece + content[at + draw(st.integers(0, 6)) :]
    return draw(damaged(content.encode(errors="surrogatepass"), 1))


def same(found, wanted):
    """Equal, but for what the documentation says of texts."""
    if isinstance(wanted, dict):
        return list(found) == list(wanted) and all(same(found[n], wanted[n]) for n in wanted)
    if isinstance(wanted, list):
        return len(found) == len(wanted) and all(map(same, found, wanted))
    if isinstance(wanted, str):
        return found == wanted or "\ufffd" in found
    return type(found) is type(wanted) and found == wanted


@fuzzed(80)
@given(content=yaml_files())
def test_fields_are_those_of_the_file(tmp_path_factory, content):
    path = put(tmp_path_factory.getbasetemp(), "config.yaml", content)
    fields, taken = tried("YAML files", lambda: read_config(path))
    if taken:
        assert same(fields, yaml.safe_load(content.decode()))
        assert all(math.isfinite(value) for value in fields.values() if isinstance(value, float))


@fuzzed(50)
@given(content=yaml_files(REDTEAM))
def test_attacks_take_their_fields_or_name_one(tmp_path_factory, content):
    path = put(tmp_path_factory.getbasetemp(), "config.yaml", content)

    def read():
        fields = redteam_fields("m", ("tap",), False, read_config(path))
        return RedteamConfig.model_validate(fields)

    config, taken = tried("configurations of attacks", read)
    if taken:
        assert RedteamConfig.model_validate_json(config.model_dump_json()) == config.model_copy(
            update={"servers": {}}
        )


@fuzzed(50)
@given(content=json_files(ALIGN))
def test_recipes_take_their_fields_or_name_one(tmp_path_factory, content):
    path = put(tmp_path_factory.getbasetemp(), "config.yaml", content)
    base = preset_recipe("mosa-stable", "organism", "--objective")
    config, taken = tried("configurations of training", lambda: configure(base, path, {}))
    if taken:
        given_fields = yaml.safe_load(content.decode())
        for name, value in given_fields.items():
            if not isinstance(value, dict | list | None):
                own = getattr(config, name)
                if isinstance(value, str):
                    # A YAML reader leaves halves of escaped pairs as they are.
                    value = value.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
                assert same(own, type(own)(value))
        assert isinstance(config, AlignmentConfig)


@pytest.mark.parametrize("line", ["a{0}: &a{0} [{1}]", "a{0}: &a{0} {{<<: [{1}]}}"])
def test_aliases_of_aliases_are_refused_at_once(tmp_path, line):
    path = put(tmp_path, "bomb.yaml", bomb(line).encode())
    assert not tried("YAML bombs", lambda: read_config(path))[1]


def test_presets_pass(tmp_path):
    path = tmp_path / "whole.yaml"
    path.write_text(yaml.safe_dump(organism_redteam().model_dump(mode="json")))
    assert read_config(path)["behaviors"] == "organism:18"
