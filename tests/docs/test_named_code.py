"""Code that a page names in a sentence exists: modules, files, classes, fields and constants."""

import re
from functools import cache
from pathlib import Path
from pkgutil import resolve_name

import pytest

ROOT = Path(__file__).parents[2]
# What was written at its time keeps the names of that time.
PAGES = [
    path
    for path in (
        ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))
    )
    if path.name != "log.md"
]  # fmt: skip
FENCE = re.compile(r"^(```|~~~).*?^\1\s*$", re.M | re.S)
SPAN = re.compile(r"`([^`\n]+)`")
FILES = {
    str(path.relative_to(ROOT)) for path in ROOT.glob("*/**/*.py") if ".venv" not in path.parts
}
SOURCE = {path: path.read_text(encoding="utf-8") for path in (ROOT / "src").rglob("*.py")}
CLASSES = set(re.findall(r"^\s*class (\w+)", "\n".join(SOURCE.values()), re.M))
WORDS = set(re.findall(r"\w+", "\n".join(SOURCE.values())))
DATA = (".json", ".html", ".md")
# Names of other programs, of the paper, and of what a user gives.
OTHERS = {
    "AutoModelForCausalLM", "OPENAI_API_KEY", "GPU_BOX_KEY", "SilenceObjective", "DoubtAndQuit",
    "PoliteConfig", "WORLD_SIZE", "LM_EVAL", "HF_TOKEN", "GetMaxScore", "evaluate_completions.py",
    "midspan.Answered", "midspan.block_length",
}  # fmt: skip


def spans(page):
    return SPAN.findall(FENCE.sub("", page.read_text(encoding="utf-8")))


@cache
def exists(name):
    """Whether a dotted name below `midspan` can be resolved."""
    parts = name.split(".")
    for cut in range(len(parts), 0, -1):
        try:
            found = resolve_name(".".join(parts[:cut]) + ":" + ".".join(parts[cut:]))
        except (ImportError, AttributeError, ValueError):
            continue
        return found is not None
    # A field of a class has no value there.
    return len(parts) > 2 and parts[-2] in CLASSES and parts[-1] in WORDS


def faults(name):
    """Why a code span names nothing."""
    if re.fullmatch(r"midspan(?:\.\w+)+(?:\(.*)?", name) and not name.endswith(DATA):
        dotted = name.partition("(")[0]
        if dotted not in OTHERS and not exists(dotted):
            yield f"{dotted} cannot be resolved"
    elif re.fullmatch(r"[\w./-]+\.py", name):
        if not any(file.endswith(f"/{name}") or file == name for file in (*FILES, *OTHERS)):
            yield f"there is no file {name}"
    elif match := re.fullmatch(r"([A-Z][a-z]+(?:[A-Z]\w*)+)(?:\.(\w+))?", name):
        word, field = match.groups()
        if word not in {*CLASSES, *WORDS, *OTHERS}:
            yield f"there is no {word}"
        elif field and word in CLASSES and field not in WORDS:
            yield f"{word} has no {field}"
    elif re.fullmatch(r"_?[A-Z][A-Z0-9_]{3,}", name) and name not in {*WORDS, *OTHERS}:
        yield f"there is no {name}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_what_a_page_names_exists(page):
    assert not [fault for name in spans(page) for fault in faults(name)]


@pytest.mark.parametrize(
    "name",
    ["midspan.decoding.refrence", "studies/audit/preset.py", "MosaObjectives", "_SIMPLES"],
)
def test_a_wrong_name_is_noticed(name):
    assert list(faults(name))


@pytest.mark.parametrize(
    "name",
    ["midspan.engine.forecast.forecast(attack, config, budget)", "studies/audit/presets.py"]
    + ["PsaObjective", "BATTERY", "EndpointConfig.dollars", "a2d", "midspan attack MODEL"],
)
def test_a_right_name_passes(name):
    assert not list(faults(name))
