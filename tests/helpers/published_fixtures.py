"""Where the published implementations' outputs lie, one folder a family."""

from pathlib import Path

PUBLISHED = Path(__file__).parents[1] / "fixtures" / "published"
