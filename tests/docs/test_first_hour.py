"""docs/first-hour.ipynb runs from its first cell to its last, and is kept without outputs."""

import json
from pathlib import Path

NOTEBOOK = Path(__file__).parents[2] / "docs" / "first-hour.ipynb"
CELLS = json.loads(NOTEBOOK.read_text(encoding="utf-8"))["cells"]
CODE = ["".join(cell["source"]) for cell in CELLS if cell["cell_type"] == "code"]
