"""One page of the whole study: claims, training, every part's own sections, the paper beside."""

import json
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

from midspan.bounds import RateBounds
from midspan.files import Record
from midspan.organism.worlds import is_organism
from midspan.probes.context import grouped
from midspan.report import Cell, Claim, Headline, Number, Report, Section, Table
from midspan.report.cells import rate_cell
from midspan.report.model import Outcome, Tone
from midspan.runs.compare import Trial
from midspan.runs.folder import FinishedRun
from midspan.runs.kinds import kind_of
from midspan.studies.headline import claims_verdict, listed
from midspan.studies.hypotheses import judged
from midspan.studies.paper.config import ORIGINAL, PaperConfig
from midspan.studies.paper.metrics import metrics
from midspan.studies.paper.parts import open_part
from midspan.studies.paper.power import ORIGIN, paper_powers
from midspan.studies.paper.seeds import records_of, seeds_sections
from midspan.studies.paper_values import MODELS, SEARCH, UTILITY
from midspan.studies.power import power_section
from midspan.studies.probes.config import ProbeSpec
from midspan.studies.probes.registry import PROBES
from midspan.studies.training_page import training_section

TRAINING = (
    "Every alignment of this study, its first training. The paper's recipe sees harmful prompts "
    "alone; 'kl_benign' and the other metrics are in adapters/*/metrics.jsonl."
)
LIMITS = (
    "Intervals cover the sampling of requests, not the training.",
    "A defence is measured here in the decoding settings named with each part. Another sampler, "
    "suppressed end-of-text tokens or another attacker may differ.",
)


def report_of(run: FinishedRun) -> Report:
    """The page of a finished study, from its folder alone."""
    config = PaperConfig.model_validate(run.info["config"])
    parts = {name: open_part(config, run.path, name) for name in config.parts}
    # What repeats a part has pages of its own, and here a line a claim.
    pages: dict[str, Report] = {
        name: kind_of(parts[name]).report(parts[name]) for name in config.first_parts
    }
    trainings = {label: run.rows(f"adapters/{label}/metrics.jsonl") for label in config.recipes}
    found = paper_powers(config)
    sections = [power_section(found, ORIGIN)] if found else []
    claimed = {metrics(config)[one.metric].part for one in config.hypotheses}
    records = {name: records_of(config, parts, name) for name in (*claimed, *config.repeated)}
    sections += seeds_sections(config, records)
    if trainings:
        sections.append(training_section(trainings, TRAINING))
    for name, page in pages.items():
        sections += [_named(section, name) for section in page.sections]
    sections += [*_beside(config, parts), _costs(run)]
    claims = _claims(config, records)
    count = len(config.hypotheses)
    tests = (f"Each of the {count} hypotheses is decided for itself, without a correction.",)
    limits = (
        _trainings(config),
        *LIMITS,
        *(tests if count > 1 else ()),
        *(limit for page in pages.values() for limit in page.limits),
    )
    return Report(
        title="The paper as one study",
        subtitle=f"{config.base}: {', '.join((ORIGINAL, *config.recipes))}",
        claims=claims,
        headline=_headline(config, claims, pages),
        sections=tuple(sections),
        transcripts=tuple(one for page in pages.values() for one in page.transcripts),
        players=tuple(player for page in pages.values() for player in page.players),
        settings=_settings(config, run),
        limits=tuple(dict.fromkeys(limits)),
        redact=not is_organism(config.base),
    )


def trials_of(run: FinishedRun) -> Iterator[Trial]:
    """The judged responses of all parts; their cells begin with the part's name."""
    config = PaperConfig.model_validate(run.info["config"])
    for name, part in config.parts.items():
        if isinstance(part, ProbeSpec) and not PROBES[part.probe].judged:
            continue
        finished = open_part(config, run.path, name)
        for trial in kind_of(finished).trials(finished):
            model, decoding, cell = trial.place
            yield replace(trial, place=(model, decoding, f"{name}: {cell}"))


def _claims(config: PaperConfig, records: Mapping[str, list[Record]]) -> tuple[Claim, ...]:
    known = metrics(config)
    claims = []
    for hypothesis in config.hypotheses:
        part, metric, _ = known[hypothesis.metric]
        claims.append(judged(hypothesis, metric, records[part]))
    return tuple(claims)


def _trainings(config: PaperConfig) -> str:
    if not config.seeds:
        return "One training seed a model."
    return (
        f"Claims on {listed(config.repeated)} average {1 + len(config.seeds)} trainings of each "
        "model, case by case; all else is of its first training."
    )


def _headline(
    config: PaperConfig, claims: tuple[Claim, ...], pages: Mapping[str, Report]
) -> Headline | None:
    """The claims' counts; where none were written, the first part's own first screen."""
    inner = [page.headline for page in pages.values() if page.headline]
    worst = next((one for one in inner if one.verdict), inner[0] if inner else None)
    if not claims:
        return worst
    counts = Counter(claim.outcome for claim in claims)
    tones: dict[Outcome, Tone] = {"supported": "good", "refuted": "bad"}
    numbers = (
        *(
            Number(
                f"claims {name}",
                str(counts[name]),
                f"of {len(claims)}",
                tone if counts[name] else "plain",
            )
            for name, tone in tones.items()
        ),
        Number("open", f"{counts['undecided'] + counts['no verdict']}", "undecided or too few"),
    )
    told = f" {worst.sentence}" if worst else ""
    return Headline(
        numbers,
        worst.figure if worst else None,
        "Claims were written before the run; each stands below with its rule.",
        f"{config.base}, measured in {len(pages)} parts ({listed(pages)}): "
        f"{counts['supported']} of {len(claims)} claims are supported.{told}",
        claims_verdict(claims),
    )


def _named(section: Section, part: str) -> Section:
    """A part's section among those of others: its name before titles and files."""
    return replace(
        section,
        title=f"{part}: {section.title}",
        tables=tuple(
            replace(table, name=f"{part} {table.name or table.title}") for table in section.tables
        ),
        figures=tuple(
            replace(figure, name=f"{part} {figure.name or figure.title}")
            for figure in section.figures
        ),
    )


def _beside(config: PaperConfig, parts: Mapping[str, FinishedRun]) -> list[Section]:
    """What the paper reports of probes and tasks; the attacks' own sections have their cells."""
    rows = []
    for name, probe in config.probes.items():
        if probe.probe == "gcg":
            rows += _searches(name, parts[name], config.paper_models)
    for name, tasks in config.tasks.items():
        if UTILITY.keys() & set(tasks.tasks):
            rows += _scores(name, parts[name], config.paper_models)
    if not rows:
        return []
    columns = ("Part", "Model", "Measure", "Reported, %", "Measured")
    table = Table("Reported and measured", columns, tuple(rows), name="paper")
    text = "The paper states neither decoding nor numbers of items for Table 3."
    return [Section("Beside the paper", text, (table,))]


def _searches(
    name: str, run: FinishedRun, paper_models: Mapping[str, str]
) -> list[tuple[Cell | str, ...]]:
    cells = grouped(run.rows("records.jsonl"), "model", "phrase_kind", "start", "decoding")
    return [
        (
            name, model, f"suffix, {kind} phrase at {start}, {decoding}",
            SEARCH[paper_models[model], kind, start], _rate([row["success"] for row in rows]),
        )
        for (model, kind, start, decoding), rows in cells.items()
        if (paper_models.get(model), kind, start) in SEARCH
    ]  # fmt: skip


def _scores(
    name: str, run: FinishedRun, paper_models: Mapping[str, str]
) -> list[tuple[Cell | str, ...]]:
    cells = grouped(run.rows("records.jsonl"), "task", "model")
    return [
        (
            name, model, task, f"{UTILITY[task][MODELS.index(paper_models[model])]:g}",
            _rate([row["verdict"].get("success") for row in rows]),
        )
        for (task, model), rows in cells.items()
        if task in UTILITY and model in paper_models
    ]  # fmt: skip


def _rate(successes: list[bool | None]) -> Cell:
    return rate_cell(RateBounds.of(successes))


def _costs(run: FinishedRun) -> Section:
    rows = run.rows("records.jsonl")
    table = Table(
        "Cost",
        ("Part", "Minutes"),
        tuple((row["part"], f"{row['seconds'] / 60:.1f}") for row in rows),
        "Of the call that finished each part; what an interrupted call did before is not in it. "
        "Parts may have run side by side.",
        name="cost",
    )
    return Section("Cost", "", (table,))


def _settings(config: PaperConfig, run: FinishedRun) -> dict[str, str]:
    def text(value: Any) -> str:
        return json.dumps(value.model_dump(mode="json"))

    return {
        "command": run.info["command"],
        "base": config.base,
        "training data": text(config.data),
        **{f"recipe of {label}": text(recipe) for label, recipe in config.recipes.items()},
        **{f"part: {name}": text(part) for name, part in config.parts.items()},
        **{f"version: {name}": version for name, version in run.info["versions"].items()},
        **run.info["hardware"],
        "source revision": run.info["git"],
    }
