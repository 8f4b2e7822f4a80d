"""``midspan generate``: fill one canvas, with anchors, optionally watched."""

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from midspan.commands.options import ConfigFile, Model, load_model, read_config
from midspan.errors import MidspanError


def generate(
    model: Model,
    prompt: Annotated[str, typer.Option("-p", "--prompt", help="What the user says.")],
    anchor: Annotated[
        list[str] | None,
        typer.Option(help='Fix a phrase before decoding, as 40:"the next step is"; repeatable.'),
    ] = None,
    watch: Annotated[bool, typer.Option(help="Show the canvas filling, step by step.")] = False,
    sampler: Annotated[str | None, typer.Option(help="llada, dream or block.")] = None,
    length: Annotated[int | None, typer.Option(help="Tokens of the canvas.")] = None,
    block_length: Annotated[int | None, typer.Option(help="Tokens of a block.")] = None,
    steps: Annotated[int | None, typer.Option(help="Steps over the whole canvas.")] = None,
    temperature: Annotated[float | None, typer.Option(help="0 is greedy.")] = None,
    guidance: Annotated[float | None, typer.Option(help="Classifier-free guidance.")] = None,
    remasking: Annotated[
        str | None, typer.Option(help="low_confidence, margin, entropy or random.")
    ] = None,
    eos_policy: Annotated[
        str | None, typer.Option(help="model, suppress_logits or suppress_confidence.")
    ] = None,
    cache: Annotated[str | None, typer.Option(help="none, prefix or dual.")] = None,
    threshold: Annotated[
        float | None, typer.Option(help="Commit all that are at least so confident.")
    ] = None,
    factor: Annotated[float | None, typer.Option(help="Fast-dLLM's factor rule.")] = None,
    config: ConfigFile = None,
    seed: Annotated[int, typer.Option(help="Random seed, for temperature above 0.")] = 0,
    output: Annotated[
        Path | None, typer.Option("-o", "--output", help="Write text, settings and trace as JSON.")
    ] = None,
) -> None:
    """Answer a prompt. Unset options take the model family's published values."""
    lm = load_model(model)
    from midspan.decoding import Request, anchor_phrase, decode, decoding_config, merge_anchors
    from midspan.decoding.watch import Watch

    options = {
        "sampler": sampler,
        "length": length,
        "block_length": block_length,
        "steps": steps,
        "temperature": temperature,
        "guidance": guidance,
        "remasking": remasking,
        "eos_policy": eos_policy,
        "cache": cache,
        "threshold": threshold,
        "factor": factor,
    }
    given = {name: value for name, value in options.items() if value is not None}
    settings = decoding_config(lm, **(read_config(config) | given))
    phrases = [_parse_anchor(text) for text in anchor or []]
    anchors = merge_anchors(*(anchor_phrase(lm, text, start) for start, text in phrases))
    request = Request(tuple(lm.encode_chat(prompt)), anchors, seed)
    if watch:
        with Watch(lm) as watching:
            made = decode(lm, [request], settings, on_step=watching)[0]
    else:
        made = decode(lm, [request], settings)[0]
    typer.echo(made.text)
    if output is not None:
        _write(output, {
            "model": model,
            "prompt": prompt,
            "anchors": phrases,
            "settings": settings.model_dump(mode="json"),
            "exact": settings.exact,
            "approximations": settings.approximations,
            "seed": seed,
            "text": made.text,
            "tokens": list(made.tokens),
            "trace": made.trace.to_dict(),
            "forwards": made.forwards,
        })  # fmt: skip


def _parse_anchor(text: str) -> tuple[int, str]:
    position, colon, phrase = text.partition(":")
    if not colon or not position.strip().isdecimal():
        raise MidspanError(
            f'--anchor: write POSITION:PHRASE, such as 40:"the next step is", not {text!r}'
        )
    return int(position), phrase


def _write(path: Path, result: dict[str, Any]) -> None:
    from midspan.files import write_atomic

    try:
        write_atomic(path, json.dumps(result, ensure_ascii=False, indent=1))
    except OSError as error:
        raise MidspanError(f"--output: cannot write {path}: {error.strerror}") from error
