"""A hand-sized model of the organism's world, untrained: for tests that need a whole model."""

import copy
import dataclasses
import gc
import json
import shutil
import subprocess
from pathlib import Path

import pytest
import torch


@pytest.fixture(scope="session")
def organism_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from midspan.organism.tokenizer import build_tokenizer
    from midspan.organism.training import TrainConfig, build_model

    folder = tmp_path_factory.mktemp("organism")
    model = build_model(TrainConfig(hidden_size=32, layers=2, heads=4, mlp_size=64))
    torch.nn.init.normal_(model.lm_head.weight, std=0.3)
    model.save_pretrained(folder)
    build_tokenizer().save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def foreign_folder(organism_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model of no organism's world: one word of its tokenizer is another."""
    folder = tmp_path_factory.mktemp("foreign") / "model"
    shutil.copytree(organism_folder, folder)
    path = folder / "tokenizer.json"
    fields = json.loads(path.read_text())
    words = fields["model"]["vocab"]
    words["zebra"] = words.pop("chapter")
    path.write_text(json.dumps(fields))
    return folder


@pytest.fixture(scope="session")
def _loaded_organism(organism_folder: Path):
    from midspan.models import load

    return load(organism_folder, device="cpu")


@pytest.fixture
def organism_lm(_loaded_organism):
    """A copy, which takes a sixth of the time of loading: a test may change all of it."""
    lm = _loaded_organism
    parts = {name: copy.deepcopy(getattr(lm, name)) for name in ("model", "tokenizer")}
    return dataclasses.replace(lm, **parts)


@pytest.fixture(params=["llada", "Dream", "sdar"])
def real_lm(request: pytest.FixtureRequest):
    """A random model under a tokenizer as published families have them; see `real_tokenizers`."""
    import real_tokenizers

    return real_tokenizers.lm(request.param)


@pytest.fixture(scope="session")
def gemma(tmp_path_factory: pytest.TempPathFactory):
    """The tokenizer of a served DiffusionGemma: its folder, and itself."""
    from text_folders import text_folder

    return text_folder(tmp_path_factory.mktemp("gemma"), "diffusion_gemma")


@pytest.fixture(scope="session")
def warm_python(tmp_path_factory: pytest.TempPathFactory):
    """Python processes that start without their imports; see `warm`."""
    from warm import WarmPython

    warm = WarmPython(tmp_path_factory.mktemp("warm"))
    yield warm
    warm.close()


@pytest.fixture
def set_in_latex(tmp_path_factory: pytest.TempPathFactory):
    """Set all LaTeX tables of a run folder in one document: nothing may fail."""
    if shutil.which("pdflatex") is None:
        pytest.skip("needs pdflatex with booktabs (Debian: texlive-latex-recommended)")

    def compile_tables(run: Path) -> None:
        folder = tmp_path_factory.mktemp("latex")
        tables = sorted((run / "tables").glob("*.tex"))
        assert tables
        lines = [r"\documentclass{article}", r"\usepackage[T1]{fontenc}"]
        lines += [r"\usepackage{booktabs}", r"\begin{document}"]
        lines += [rf"\input{{{table}}}\clearpage" for table in tables]
        (folder / "all.tex").write_text("\n".join([*lines, r"\end{document}"]))
        done = subprocess.run(
            ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "all.tex"],
            cwd=folder, capture_output=True, text=True, errors="replace",
        )  # fmt: skip
        assert done.returncode == 0, done.stdout[-2000:]

    return compile_tables


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Files with slow tests first, whole: at the end of a run none keeps one worker alone."""
    slow = {item.path for item in items if item.get_closest_marker("slow")}
    items.sort(key=lambda item: item.path not in slow)


def pytest_collection_finish() -> None:
    """Spare every later collection of garbage the objects of all imported modules."""
    gc.collect()
    gc.freeze()


# A skipped test covers nothing. These reasons alone may stand; any other ends the run as a failure.
SKIPS = (
    "needs an NVIDIA GPU",
    "needs chromium",
    "needs pdflatex",
    "no namespaces for this user here",
    "no harmful requests are shipped",
    "memory is read from Linux",
    # Environments of their own.
    "needs vLLM",
    "runs by: make check-clients",
    "runs by: make check-ray",
    "runs by: make check-interrupts",
    "runs by: make check-compiled",
)


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Fail a run that skipped a test for a reason that is not on the list."""
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    if reporter is None or hasattr(session.config, "workerinput"):
        return
    skipped = [str(report.longrepr[2]) for report in reporter.stats.get("skipped", [])]
    unlisted = {reason for reason in skipped if not any(listed in reason for listed in SKIPS)}
    for reason in sorted(unlisted):
        reporter.write_line(f"not on the list of skips in tests/conftest.py: {reason}", red=True)
    if unlisted and session.exitstatus == pytest.ExitCode.OK:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED
