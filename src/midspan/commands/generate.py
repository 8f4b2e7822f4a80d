"""``midspan generate``: fill one canvas, with anchors, optionally watched."""

from typing import Annotated, Any

import typer

from midspan.commands.generated import with_options
from midspan.commands.options import (
    ACCELERATION,
    ConfigFile,
    JsonFile,
    Model,
    load_model,
    read_config,
    write_json,
)
from midspan.errors import MidspanError

# Fields of decoding.
DECODING = {
    "sampler": Annotated[str | None, typer.Option(help="llada, dream or block.")],
    "length": Annotated[int | None, typer.Option(help="Tokens of the canvas.")],
    "block_length": Annotated[int | None, typer.Option(help="Tokens of a block.")],
    "steps": Annotated[int | None, typer.Option(help="Steps over the whole canvas.")],
    "temperature": Annotated[float | None, typer.Option(help="0 is greedy.")],
    "guidance": Annotated[float | None, typer.Option(help="Classifier-free guidance.")],
    "remasking": Annotated[
        str | None, typer.Option(help="low_confidence, margin, entropy or random.")
    ],
    "eos_policy": Annotated[
        str | None, typer.Option(help="model, suppress_logits or suppress_confidence.")
    ],
    **ACCELERATION,
}


@with_options("decoding", DECODING)
def generate(
    model: Model,
    prompt: Annotated[str, typer.Option("-p", "--prompt", help="What the user says.")],
    decoding: dict[str, Any],
    anchor: Annotated[
        list[str] | None,
        typer.Option(help='Fix a phrase before decoding, as 40:"the next step is"; repeatable.'),
    ] = None,
    watch: Annotated[bool, typer.Option(help="Show the canvas filling, step by step.")] = False,
    config: ConfigFile = None,
    seed: Annotated[int, typer.Option(help="Random seed, for temperature above 0.")] = 0,
    json_file: JsonFile = None,
) -> None:
    """Answer a prompt. Unset options take the model family's published values."""
    lm = load_model(model)
    from midspan.decoding import (
        anchor_phrases,
        chat_request,
        decode,
        decoding_config,
    )
    from midspan.decoding.watch import Watch

    settings = decoding_config(lm, **(read_config(config) | decoding))
    phrases = [_parse_anchor(text) for text in anchor or []]
    anchors = anchor_phrases(lm, ((text, start) for start, text in phrases))
    request = chat_request(lm, prompt, settings, anchors, seed)
    if watch:
        with Watch(lm) as watching:
            generation = decode(lm, [request], settings, on_step=watching)[0]
    else:
        generation = decode(lm, [request], settings)[0]
    typer.echo(generation.text)
    if json_file is not None:
        write_json(json_file, {
            "model": model,
            "prompt": prompt,
            "anchors": phrases,
            "settings": settings.model_dump(mode="json"),
            "exact": settings.exact,
            "approximations": settings.approximations,
            "seed": seed,
            "text": generation.text,
            **generation.notes,
            "tokens": list(generation.tokens),
            "trace": generation.trace.to_dict(),
            "forwards": generation.forwards,
        })  # fmt: skip


def _parse_anchor(text: str) -> tuple[int, str]:
    position, colon, phrase = text.partition(":")
    if not colon or not position.strip().isdecimal():
        raise MidspanError(
            f'--anchor: write POSITION:PHRASE, such as 40:"the next step is", not {text!r}'
        )
    return int(position), phrase
