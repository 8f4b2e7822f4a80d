"""What further training seeds came to: the records that claims on them read, and their tables."""

from collections.abc import Iterator, Mapping

from midspan.engine.outcomes import won
from midspan.files import Record
from midspan.report import Section, Table
from midspan.runs.folder import FinishedRun
from midspan.studies.hypotheses import judged
from midspan.studies.paper.config import ORIGINAL, PaperConfig
from midspan.studies.paper.metrics import metrics


def records_of(config: PaperConfig, parts: Mapping[str, FinishedRun], name: str) -> list[Record]:
    """Of a part and of what repeats it."""
    return [row for one in config.repeats_of(name) for row in parts[one].rows("records.jsonl")]


def seeds_sections(config: PaperConfig, parts: Mapping[str, FinishedRun]) -> list[Section]:
    """The claims on what was repeated, as each training seed alone would have them."""
    known, rows = metrics(config), []
    for hypothesis in config.hypotheses:
        part, metric = known[hypothesis.metric]
        if part in config.repeated:
            found = records_of(config, parts, part)
            rows.append((
                hypothesis.text,
                *(judged(hypothesis, metric, one).short for one in _by_seed(config, found)),
            ))  # fmt: skip
    if not (config.seeds and rows):
        return []
    heads = ("first", *(f"seed {seed}" for seed in config.seeds))
    caption = "How far one training tells of its recipe: the measured value by training seed."
    table = Table("Training seeds", ("Claim", *heads), tuple(rows), caption, "seeds")
    wins = (wins_table(config, parts, name) for name in config.repeated if name in config.attacks)
    return [Section("Training seeds", "", (table, *wins))]


def wins_table(config: PaperConfig, parts: Mapping[str, FinishedRun], name: str) -> Table:
    """Behaviors that each attack wins on each training of each model, and that any of them does."""
    part, records = config.attacks[name], records_of(config, parts, name)
    judge, count = part.judges[0], len(part.attacks)
    labels = [label for label in part.models if label != ORIGINAL]

    def behaviors(model: str, attack: str | None) -> int:
        return len({
            row["behavior"]
            for row in records
            if row["model"] == model
            and attack in (None, row["attack_label"])
            and won(row, judge)
        })  # fmt: skip

    def trainings(label: str, attack: str | None) -> str:
        return ", ".join(str(behaviors(one, attack)) for one in config.replicas_of(label))

    attacks = {spec.name: spec.name for spec in part.attacks} | {f"any of the {count}": None}
    rows = tuple(
        (shown, *(trainings(label, attack) for label in labels))
        for shown, attack in attacks.items()
    )
    total = len({row["behavior"] for row in records})
    caption = f"Of {total}; first as in the other tables, then seed by seed."
    return Table(f"{name}: behaviors won", ("Attack", *labels), rows, caption, f"{name} seeds")


def _by_seed(config: PaperConfig, records: list[Record]) -> Iterator[list[Record]]:
    """The records of the Original with those of one training seed, for each seed."""
    trainings = zip(*(config.replicas_of(label) for label in config.recipes), strict=True)
    for labels in trainings:
        yield [row for row in records if row["model"] in (ORIGINAL, *labels)]
