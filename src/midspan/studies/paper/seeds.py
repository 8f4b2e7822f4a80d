"""What further training seeds came to: the records that claims on them read, and their tables."""

from collections.abc import Iterator, Mapping

from midspan.engine.outcomes import won
from midspan.files import Record
from midspan.report import Section, Table
from midspan.runs.folder import FinishedRun
from midspan.studies.hypotheses import judged
from midspan.studies.paper.config import ORIGINAL, PaperConfig
from midspan.studies.paper.metrics import metrics
from midspan.studies.probes.page import errors_of


def records_of(config: PaperConfig, parts: Mapping[str, FinishedRun], name: str) -> list[Record]:
    """Of a part and of what repeats it; of a probe also the responses without an outcome."""
    replicas = config.replicas_of(name)
    found: list[Record] = [row for one in replicas for row in parts[one].rows("records.jsonl")]
    return found + errors_of(parts[name]) if name in config.probes else found


def seeds_sections(config: PaperConfig, records: Mapping[str, list[Record]]) -> list[Section]:
    """The claims on what was repeated, as each training seed alone would have them.

    Args:
        config: The study.
        records: By part, with those of what repeats it.
    """
    known, rows = metrics(config), []
    for hypothesis in config.hypotheses:
        part, metric, _ = known[hypothesis.metric]
        if part in config.repeated:
            alone = _by_seed(config, records[part])
            measured = (judged(hypothesis, metric, one).short for one in alone)
            rows.append((hypothesis.text, *measured))
    if not (config.seeds and rows):
        return []
    heads = ("first", *(f"seed {seed}" for seed in config.seeds))
    caption = "How far one training tells of its recipe: the measured value by training seed."
    table = Table("Training seeds", ("Claim", *heads), tuple(rows), caption, "seeds")
    attacked = [name for name in config.repeated if name in config.attacks]
    wins = (wins_table(config, name, records[name]) for name in attacked)
    return [Section("Training seeds", "", (table, *wins))]


def wins_table(config: PaperConfig, name: str, records: list[Record]) -> Table:
    """Behaviors that each attack wins on each training of each model, and that any of them does."""
    part = config.attacks[name]
    labels = [label for label in part.models if label != ORIGINAL]
    together = f"any of the {len(part.attacks)}"
    beaten: dict[tuple[str, str], set[str]] = {}
    for row in records:
        if won(row, part.judges[0]):
            for attack in (row["attack_label"], together):
                beaten.setdefault((row["model"], attack), set()).add(row["behavior"])

    def cell(label: str, attack: str) -> str:
        trainings = config.replicas_of(label)
        return ", ".join(str(len(beaten.get((one, attack), ()))) for one in trainings)

    rows = tuple(
        (attack, *(cell(label, attack) for label in labels))
        for attack in (*(spec.name for spec in part.attacks), together)
    )
    total = len({row["behavior"] for row in records})
    caption = f"Of {total}; first as in the other tables, then seed by seed."
    return Table(f"{name}: behaviors won", ("Attack", *labels), rows, caption, f"{name} seeds")


def _by_seed(config: PaperConfig, records: list[Record]) -> Iterator[list[Record]]:
    """The records of the Original with those of one training seed, for each seed."""
    trainings = zip(*(config.replicas_of(label) for label in config.recipes), strict=True)
    for labels in trainings:
        yield [row for row in records if row["model"] in (ORIGINAL, *labels)]
