"""``midspan probe fidelity``: an accelerated decoding beside the exact one, or one chosen."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from midspan.commands.choice import choose_settings
from midspan.commands.ends import Call, asking, typed
from midspan.commands.generated import with_options
from midspan.commands.names import A_SET
from midspan.commands.options import (
    ACCELERATION,
    Column,
    ConfigFile,
    FailFast,
    JsonFile,
    Model,
    end_with,
    load_model,
    read_config,
    write_json,
)
from midspan.errors import MidspanError
from midspan.studies.probes.registry import FIDELITY_ASKS

if TYPE_CHECKING:
    from midspan.decoding import Request
    from midspan.models import DiffusionLM
    from midspan.probes.fidelity import Verdict

Choose = Annotated[
    bool, typer.Option("--choose", help="Find the fastest settings that keep the verdicts.")
]
ChoiceOutput = Annotated[
    Path | None,
    typer.Option("-o", "--output", help="Run folder of --choose, runs/decoding by default."),
]
# Fields of accelerated decoding, as `midspan generate` takes them.
_FLAGS = {"cache": "--cache", "threshold": "--threshold", "factor": "--parallel-factor"}


@with_options(
    "acceleration",
    ACCELERATION
    | {"refresh_every": Annotated[int | None, typer.Option(help="Full forward every N.")]},
)
def fidelity(
    model: Model,
    acceleration: dict[str, Any],
    behaviors: Annotated[
        str | None,
        typer.Option(
            help="A file, or a set of `midspan data`; the organism brings its own.",
            **A_SET,
        ),
    ] = None,
    column: Column = None,
    n: Annotated[
        int | None, typer.Option("-n", help="Requests; 100, or 300 to choose on.", min=1)
    ] = None,
    config: ConfigFile = None,
    batch_size: Annotated[
        int | None, typer.Option(help="Rows decoded together; 8 by default.", min=1)
    ] = None,
    seed: Annotated[int, typer.Option(help="Seed of the organism's requests.")] = 0,
    json_file: JsonFile = None,
    choose: Choose = False,
    output: ChoiceOutput = None,
    fail_fast: FailFast = False,
) -> None:
    """Compare an accelerated decoding with the exact one: tokens, forwards, verdicts.

    The configuration file sets what both share. On the organism the exact judge gives the
    verdicts, on other models keywords of refusal. Without an option of acceleration, cache "dual"
    and threshold 0.9 are measured; with block-causal attention, the cache of finished blocks.
    --choose finds the fastest settings that keep the verdicts; fields of the search stand under
    choose: in the configuration file, -n is the requests that choose, and as many others judge.
    """
    from midspan.studies.probes.served import check_model

    check_model("fidelity", FIDELITY_ASKS, model, {})
    if choose:
        if acceleration:
            raise MidspanError(f"--choose: tries {next(iter(acceleration))} itself; leave it out")
        given = {"behaviors": behaviors, "column": column, "seed": seed, "batch_size": batch_size}
        choose_settings(model, read_config(config), {**given, "n": n}, output)
        return
    if output is not None:
        raise MidspanError("--output: is the run folder of --choose; results go to --json")
    n, batch_size = n or 100, batch_size or 8
    told = Call(
        f"Compares an accelerated decoding of {model} with the exact one, on up to {n} requests",
        "each is decoded twice",
    )
    lm = load_model(model)
    from midspan.data import read_prompts
    from midspan.decoding import decoding_config
    from midspan.probes.fidelity import DecodingComparison, default_acceleration
    from midspan.probes.fidelity import fidelity as run

    shared = read_config(config)
    exact = decoding_config(lm, **shared)
    if "cache" not in shared and exact.cache != "none":
        exact = exact.model_copy(update={"cache": "none"})
    faster = acceleration or default_acceleration(lm, exact)
    fast = decoding_config(lm, **(shared | faster))
    if not exact.exact:
        raise MidspanError("--config: accelerates; give accelerations as options instead")
    texts = read_prompts(behaviors, column) if behaviors is not None else None
    requests, judge, judged_by = _behaviors(model, lm, texts, n, seed)
    comparison = DecodingComparison(requests, exact, fast, judge, judged_by, batch_size, fail_fast)
    agreement = run(lm, comparison)
    width = max(len(name) for name, _ in agreement.rows())
    for name, figure in agreement.rows():
        typer.echo(f"{name:{width}}  {figure}")
    if json_file is not None:
        write_json(json_file, {
            "model": model,
            "n": len(requests),
            "exact_settings": exact.model_dump(mode="json"),
            "accelerated_settings": fast.model_dump(mode="json"),
            "batch_size": batch_size,
            **agreement.to_dict(),
        })  # fmt: skip
    options = [word for name in _FLAGS if name in faster for word in (_FLAGS[name], faster[name])]
    place = f"in {typed(json_file)}" if json_file else "above"
    told.end(f"The agreement is {place}.", *asking(model), *options)
    end_with(agreement.problems)


def _behaviors(
    model: str, lm: "DiffusionLM", texts: Sequence[str] | None, n: int, seed: int
) -> "tuple[list[Request], Verdict, str]":
    """Requests, the judge of each response, and its name."""
    from midspan.decoding import Request
    from midspan.organism.worlds import FIRST, world_in
    from midspan.studies.choice.config import EXACT_JUDGE, KEYWORDS

    if texts is None and world_in(model) == FIRST:
        from midspan.studies.organism.verify.config import VerifyConfig
        from midspan.studies.organism.verify.run import verification_cases

        cases = [c for c in verification_cases(VerifyConfig(n, n, seed)) if c.question is None]
        cases = cases[:: max(1, len(cases) // n)][:n]
        requests = [Request(tuple(lm.encode_chat(case.prompt))) for case in cases]

        def by_judge(index: int, response: str) -> tuple[bool, bool]:
            verdict = cases[index].verdict(response)
            return verdict["success"], verdict["refusal"]

        return requests, by_judge, EXACT_JUDGE
    if texts is None:
        raise MidspanError("--behaviors: give a behavior set (.txt, .csv or .jsonl)")
    from midspan.judges import refuses

    requests = [Request(tuple(lm.encode_chat(text)), seed=seed) for text in texts[:n]]
    return requests, lambda _, response: refuses(response), KEYWORDS
