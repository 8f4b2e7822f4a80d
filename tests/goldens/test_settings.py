"""Every setting's default and limits, every preset and what calls default to, in one file.

Numbers are reported under these settings. Whoever changes one sees it in the diff of
`expected/settings.txt`, and compares it with docs/attacks or the paper that it came from:
``pytest tests/goldens/test_settings.py --rewrite-goldens``.
"""

import dataclasses
import importlib
import inspect
import json
import pkgutil
import sys
from pathlib import Path

import midspan
from midspan.frozen import FrozenConfig
from midspan.judges import FORMATS

EXPECTED = Path(__file__).parent / "expected" / "settings.txt"
# Packages with configs; the others are the ways in, or need packages of their own.
ROOMS = (
    "alignment", "attacks", "decoding", "engine", "judges", "organism", "serve", "studies", "tasks",
)  # fmt: skip
PLAIN = (bool, int, float, str, tuple, type(None))


def configs(base=FrozenConfig):
    for config in base.__subclasses__():
        # Those of adapters are there only where another tool is installed.
        # Another test's module of a guide may be gone again, and its class be still in memory.
        is_there = config.__module__ in sys.modules
        is_own = config.__module__.startswith("midspan.")
        if is_own and is_there and ".adapters." not in config.__module__:
            yield config
        yield from configs(config)


def fields_of(config):
    """A config's fields in words of JSON schema, without what is said about them."""
    schema = config.model_json_schema()
    for name, field in schema["properties"].items():
        yield f"  {name}: {json.dumps(without_words(field), sort_keys=True, ensure_ascii=False)}"


def defaults(module):
    """Plain defaults of a module's public dataclasses, named tuples and functions."""
    for name, kind in sorted(vars(module).items()):
        if name.startswith("_") or getattr(kind, "__module__", "") != module.__name__:
            continue
        plain = {name: value for name, value in given(kind).items() if isinstance(value, PLAIN)}
        if plain:
            yield f"{module.__name__}.{name}"
            yield from (f"  {field} = {value!r}" for field, value in plain.items())


def given(kind):
    """What its fields or arguments are where nothing is said."""
    if inspect.isfunction(kind):
        return {name: one.default for name, one in inspect.signature(kind).parameters.items()}
    if isinstance(kind, type) and dataclasses.is_dataclass(kind):
        own = [field for field in dataclasses.fields(kind) if field.name in kind.__annotations__]
        return {field.name: field.default for field in own}
    return getattr(kind, "_field_defaults", {})


def without_words(value):
    if isinstance(value, dict):
        kept = {key: part for key, part in value.items() if key not in ("title", "description")}
        return {key: without_words(part) for key, part in kept.items()}
    return [without_words(part) for part in value] if isinstance(value, list) else value


def presets():
    from midspan import alignment
    from midspan.models import families
    from midspan.tasks import gsm8k, humaneval, mmlu, overrefusal

    for name, preset in alignment.PRESETS.items():
        yield f"alignment.{name}", preset()
        yield f"alignment.{name} at the paper's budget", alignment.at_paper_budget(name)
    tables = {
        "gsm8k": gsm8k.PRESETS, "humaneval": humaneval.PRESETS, "mmlu": mmlu.PRESETS,
        "mmlu by likelihood": mmlu.LIKELIHOOD_PRESETS,
        "over-refusal": {"llada": overrefusal.PRESET},
    }  # fmt: skip
    for task, table in tables.items():
        for name, preset in table.items():
            yield f"tasks.{task}.{name}", preset
    for family in families():
        yield f"decoding.{family.name}", midspan.decoding_config(family)


def text():
    modules = []
    for room in ROOMS:
        package = importlib.import_module(f"midspan.{room}")
        found = pkgutil.walk_packages(package.__path__, f"{package.__name__}.")
        modules += [importlib.import_module(module.name) for module in found]
    blocks = {
        f"{config.__module__}.{config.__qualname__}": fields_of(config) for config in configs()
    }
    lines = [line for name in sorted(blocks) for line in (name, *blocks[name])]
    lines += [line for module in modules for line in defaults(module)]
    for name, preset in presets():
        values = preset.model_dump(mode="json")
        lines += [name, *(f"  {key} = {json.dumps(value)}" for key, value in values.items())]
    for form in FORMATS.values():
        lines += [f"judges.{form.name}", f"  {form.model}, {form.max_new_tokens} tokens"]
    return "".join(f"{line}\n" for line in lines)


def test_every_default_limit_and_preset_is_the_one_on_file(request):
    found = text()
    if request.config.getoption("--rewrite-goldens", default=False):
        EXPECTED.write_text(found, encoding="utf-8")
    expected = EXPECTED.read_text(encoding="utf-8").splitlines()
    assert found.splitlines() == expected
