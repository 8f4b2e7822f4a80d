"""The wheel holds everything: built, installed beside the dependencies alone, and put to work."""

import os
import shutil
import subprocess
import sys
import sysconfig
import venv
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
# At the top alone: the package has a room called runs, too.
NOT_SOURCE = {".git", ".venv", "runs", "build", "dist"}


def not_source(folder: str, names: list[str]) -> set[str]:
    generated = {name for name in names if name.endswith(".egg-info")}
    return generated | (NOT_SOURCE & set(names) if Path(folder) == ROOT else set())


@pytest.fixture(scope="module")
def python(tmp_path_factory) -> Path:
    """A new environment with midspan from its wheel; only the dependencies are borrowed."""
    folder = tmp_path_factory.mktemp("package")
    shutil.copytree(ROOT, folder / "source", ignore=not_source)
    build = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation"]
    subprocess.run([*build, "--wheel-dir", folder, folder / "source"], check=True)
    (wheel,) = folder.glob("midspan-*.whl")
    environment = folder / "environment"
    venv.create(environment, with_pip=False)
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    site = environment / "lib" / version / "site-packages"
    shutil.unpack_archive(wheel, site, format="zip")
    (site / "dependencies.pth").write_text(sysconfig.get_path("purelib"), encoding="utf-8")
    return environment / "bin" / "python"


@pytest.mark.slow
def test_the_demo_runs_from_the_wheel(python, tmp_path):
    where = subprocess.run(
        [python, "-c", "import midspan; print(midspan.__file__)"],
        capture_output=True, text=True, cwd=tmp_path, check=True,
    )  # fmt: skip
    assert str(python.parent.parent) in where.stdout
    small = "shipped: []\nhypotheses: []\nnum_prompts: 8\npositions_a_step: 32\n"
    (tmp_path / "small.yaml").write_text(small)
    options = ["--preset", "demo-smoke", "--config", "small.yaml", "-o", "run"]
    done = subprocess.run(
        [python, "-m", "midspan", "study", *options],
        capture_output=True, text=True, cwd=tmp_path, env={**os.environ, "OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "run" / "report.html").is_file()
    assert "report.html" in done.stdout
