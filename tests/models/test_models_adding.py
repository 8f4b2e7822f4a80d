"""docs/adding-a-family.md: its code is in the file it shows, and one file is indeed enough."""

import os
import re
import subprocess
import sys
from pathlib import Path

from blocks_reference import write_checkpoint

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "src" / "midspan"

LOAD = """
import sys
from midspan.models import families, load
lm = load(sys.argv[1], device="cpu")
print(lm.family.name, lm.block_length, lm.encode_chat("poem"))
print(sum(family.name == "neighbour" for family in families()))
"""


def test_all_code_of_the_guide_is_in_the_file_it_shows() -> None:
    guide = (ROOT / "docs" / "adding-a-family.md").read_text(encoding="utf-8")
    source = (PACKAGE / "models" / "sdar.py").read_text(encoding="utf-8")
    blocks = re.findall(r"```python\n(.*?)```", guide, flags=re.DOTALL)
    assert len(blocks) >= 6
    for block in blocks:
        assert block in source
    for link in re.findall(r"\]\((\.\./[^)]*)\)", guide):
        assert (ROOT / "docs" / link).is_file()
    for name in re.findall(r"`(\w+\.py)`", guide):
        assert (PACKAGE / "models" / name).is_file()


def test_a_family_is_one_file(tmp_path: Path) -> None:
    """The package as it is, plus one module: SDAR's, under another name."""
    package = tmp_path / "midspan"
    (package / "models").mkdir(parents=True)
    for folder in (PACKAGE, PACKAGE / "models"):
        for entry in folder.iterdir():
            place = package / entry.relative_to(PACKAGE)
            if not place.exists():
                place.symlink_to(entry)
    module = (PACKAGE / "models" / "sdar.py").read_text(encoding="utf-8")
    renamed = module.replace('"sdar', '"neighbour').replace("Sdar", "Neighbour")
    (package / "models" / "neighbour.py").write_text(renamed, encoding="utf-8")
    folder = write_checkpoint(tmp_path / "checkpoint", "sdar", model_type="neighbour")
    done = subprocess.run(
        [sys.executable, "-c", LOAD, str(folder)],
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[0].startswith("neighbour 4 [3, ")
    assert done.stdout.splitlines()[1] == "1"
