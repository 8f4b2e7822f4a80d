"""``midspan probe``: measurements on one model."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from midspan.commands import probe_figures
from midspan.commands.options import ConfigFile, Model, load_model, read_config
from midspan.errors import MidspanError

if TYPE_CHECKING:
    from midspan.models import DiffusionLM
    from midspan.probes.fidelity import Comparison

app = typer.Typer(help="Measure one property of a model, with n and an interval.")
app.command()(probe_figures.prefill)
app.command()(probe_figures.gcg)
app.command("instruction-placement")(probe_figures.instruction_placement)
app.command()(probe_figures.order)
app.command()(probe_figures.window)
app.command()(probe_figures.activations)
app.command()(probe_figures.samples)


@app.command()
def fidelity(
    model: Model,
    prompts: Annotated[
        Path | None, typer.Option(help="Behavior set; the organism brings its own.")
    ] = None,
    n: Annotated[int, typer.Option("-n", help="Requests.", min=1)] = 100,
    cache: Annotated[str | None, typer.Option(help="none, prefix or dual.")] = None,
    refresh_every: Annotated[int | None, typer.Option(help="Full forward every N.")] = None,
    threshold: Annotated[float | None, typer.Option(help="Confidence to commit at.")] = None,
    factor: Annotated[float | None, typer.Option(help="Fast-dLLM's factor rule.")] = None,
    config: ConfigFile = None,
    batch_size: Annotated[int, typer.Option(help="Rows decoded together.", min=1)] = 8,
    seed: Annotated[int, typer.Option(help="Seed of the organism's requests.")] = 0,
    output: Annotated[
        Path | None, typer.Option("-o", "--output", help="Write figures and settings as JSON.")
    ] = None,
) -> None:
    """Compare an accelerated decoding with the exact one: tokens, forwards, verdicts.

    The configuration file sets what both share. On the organism the exact judge gives the
    verdicts, on other models keywords of refusal. Without an option of acceleration, cache "dual"
    and threshold 0.9 are measured; with block-causal attention, the cache of finished blocks.
    """
    lm = load_model(model)
    from midspan.decoding import decoding_config
    from midspan.probes.fidelity import Comparison, default_acceleration
    from midspan.probes.fidelity import fidelity as run

    shared = read_config(config)
    options = {
        "cache": cache,
        "refresh_every": refresh_every,
        "threshold": threshold,
        "factor": factor,
    }
    faster = {name: value for name, value in options.items() if value is not None}
    exact = decoding_config(lm, **shared)
    if "cache" not in shared and exact.cache != "none":
        exact = exact.model_copy(update={"cache": "none"})
    fast = decoding_config(lm, **(shared | (faster or default_acceleration(lm, exact))))
    if not exact.exact:
        raise MidspanError("--config: accelerates; give accelerations as options instead")
    requests, judge, judged_by = _behaviors(model, lm, prompts, n, seed)
    comparison = Comparison(requests, exact, fast, judge, judged_by, batch_size)
    found = run(lm, comparison)
    width = max(len(name) for name, _ in found.rows())
    for name, figure in found.rows():
        typer.echo(f"{name:{width}}  {figure}")
    if output is not None:
        _write(output, model, comparison, found.to_dict())


def _behaviors(
    model: str, lm: "DiffusionLM", prompts: Path | None, n: int, seed: int
) -> tuple[list[Any], Any, str]:
    """Requests, the judge of each response, and its name."""
    from midspan.decoding import Request
    from midspan.organism.behaviors import is_organism

    if prompts is None and is_organism(model):
        from midspan.study.organism.verify.config import VerifyConfig
        from midspan.study.organism.verify.run import verification_cases

        cases = [c for c in verification_cases(VerifyConfig(n, n, seed)) if c.question is None]
        cases = cases[:: max(1, len(cases) // n)][:n]
        requests = [Request(tuple(lm.encode_chat(case.prompt))) for case in cases]

        def by_judge(index: int, response: str) -> tuple[bool, bool]:
            verdict = cases[index].verdict(response)
            return verdict["success"], verdict["refusal"]

        return requests, by_judge, "exact judge"
    if prompts is None:
        raise MidspanError("--prompts: give a behavior set (.txt, .csv or .jsonl)")
    from midspan.data import read_prompts
    from midspan.judges import refuses_by_keyword

    texts = read_prompts(prompts)[:n]
    requests = [Request(tuple(lm.encode_chat(text)), seed=seed) for text in texts]
    return requests, lambda _, response: refuses_by_keyword(response), "refusal keywords"


def _write(path: Path, model: str, comparison: "Comparison", figures: dict[str, Any]) -> None:
    from midspan.files import write_atomic

    result = {
        "model": model,
        "n": len(comparison.requests),
        "exact_settings": comparison.exact.model_dump(mode="json"),
        "accelerated_settings": comparison.fast.model_dump(mode="json"),
        "batch_size": comparison.batch_size,
        **figures,
    }
    try:
        write_atomic(path, json.dumps(result, indent=1))
    except OSError as error:
        raise MidspanError(f"--output: cannot write {path}: {error.strerror}") from error
