"""Who judged a study: models, rubrics and their versions, as the report's settings name them."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from midspan.engine.roles import Role
from midspan.files import write_jsonl
from midspan.judges.calibration import Calibration
from midspan.runs.folder import FinishedRun

_FILE = "judges.jsonl"


def write_judges(
    folder: Path, judges: Mapping[str, Role], calibrations: Mapping[str, Calibration]
) -> None:
    """A line a judge: its name in the study, its fingerprint, and that of the calibrated one."""
    rows: Sequence[dict[str, str]] = [
        {"name": name, "judge": role.fingerprint}
        | ({"calibrated": calibrations[name].judge} if name in calibrations else {})
        for name, role in judges.items()
    ]
    write_jsonl(folder / _FILE, rows)


def judged_by(run: FinishedRun) -> dict[str, str]:
    """The judges of a red-team study, and their fingerprints, which earlier versions left out."""
    settings = {"judges": ", ".join(run.info["config"]["judges"])}
    for row in run.rows(_FILE) if (run.path / _FILE).is_file() else ():
        settings[f"judge: {row['name']}"] = row["judge"]
        if row.get("calibrated", row["judge"]) != row["judge"]:
            settings[f"calibration: {row['name']}"] = f"{row['calibrated']}, another judge"
    return settings
