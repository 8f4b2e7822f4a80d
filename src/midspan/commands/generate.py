"""``midspan generate``: fill one canvas, with anchors, optionally watched."""

from contextlib import nullcontext
from typing import Annotated, Any

import typer

from midspan.commands.choices import EOS_POLICIES, REMASKING, SAMPLERS, chosen
from midspan.commands.ends import Call, given_words, loading, typed
from midspan.commands.generated import with_options
from midspan.commands.names import A_MODEL
from midspan.commands.options import (
    ACCELERATION,
    ConfigFile,
    JsonFile,
    load_model,
    read_config,
    write_json,
)
from midspan.errors import MidspanError
from midspan.yaml_file import group_of

Asked = Annotated[
    str,
    typer.Argument(
        help="organism, a folder, a hub id, BASE+ADAPTER, or a served model as URL#NAME.",
        show_default=False,
        **A_MODEL,
    ),
]
# Fields of decoding.
DECODING = {
    "sampler": Annotated[str | None, chosen(SAMPLERS, "Whose sampler")],
    "length": Annotated[int | None, typer.Option(help="Tokens of the canvas.", min=1)],
    "block_length": Annotated[int | None, typer.Option(help="Tokens of a block.", min=1)],
    "steps": Annotated[int | None, typer.Option(help="Steps over the whole canvas.", min=1)],
    "temperature": Annotated[float | None, typer.Option(help="0 is greedy.", min=0)],
    "guidance": Annotated[float | None, typer.Option(help="Classifier-free guidance.")],
    "remasking": Annotated[str | None, chosen(REMASKING, "Which positions stay masked")],
    "eos_policy": Annotated[str | None, chosen(EOS_POLICIES, "What may end the text")],
    **ACCELERATION,
}
# Those that neither add to the model nor look into it.
_PLAIN = DECODING.keys() - {"rules"}


@with_options("decoding", DECODING)
def generate(
    model: Asked,
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
    """Answer a prompt. Unset options take the model family's published values.

    A served model takes what its server does, and shows no steps; its settings stand under
    servers: in the configuration file.
    """
    from midspan.served import is_served

    if not prompt.strip():
        raise MidspanError('--prompt: is empty; give what the user says, such as -p "hello"')
    fields = read_config(config) | decoding
    phrases = [_parse_anchor(text) for text in anchor or []]
    call = Call(f"Answers one prompt with {model}, on standard output", loading(model))
    if is_served(model):
        text, result = _served(model, prompt, fields, phrases, seed, watch)
    else:
        text, result = _local(model, prompt, fields, phrases, seed, watch)
    typer.echo(text)
    if json_file is not None:
        asked = {"model": model, "prompt": prompt, "anchors": phrases, "seed": seed}
        write_json(json_file, asked | result)
    forwards = f"; {result['forwards']} forward passes" if "forwards" in result else ""
    details = (
        f"Settings and trace are in {typed(json_file)}" if json_file else "The answer is above"
    )
    call.end(f"{details}{forwards}.", *_next(model, watch))


def _next(model: str, watched: bool) -> tuple[str, ...]:
    from midspan.served import is_served

    if is_served(model):
        return ("midspan", "doctor", "--deep", model)
    return ("midspan", "play", model) if watched else (*given_words(), "--watch")


def _parse_anchor(text: str) -> tuple[int, str]:
    position, colon, phrase = text.partition(":")
    if not colon or not position.strip().isdecimal():
        raise MidspanError(
            f'--anchor: write POSITION:PHRASE, such as 40:"the next step is", not {text!r}'
        )
    return int(position), phrase


def _local(
    model: str,
    prompt: str,
    fields: dict[str, Any],
    phrases: list[tuple[int, str]],
    seed: int,
    watch: bool,
) -> tuple[str, dict[str, Any]]:
    """The answer of a model that is loaded here, and how it came about."""
    lm = _for_decoding(model, fields)
    from midspan.decoding import anchor_phrases, chat_request, decode, decoding_config
    from midspan.decoding.watch import Watch

    settings = decoding_config(lm, **fields)
    anchors = anchor_phrases(lm, ((text, start) for start, text in phrases))
    request = chat_request(lm, prompt, settings, anchors, seed)
    with Watch(lm) if watch else nullcontext() as watching:
        generation = decode(lm, [request], settings, on_step=watching)[0]
    return generation.text, {
        "settings": settings.model_dump(mode="json"),
        "exact": settings.exact,
        "approximations": settings.approximations,
        "text": generation.text,
        **generation.notes,
        "tokens": list(generation.tokens),
        "trace": generation.trace.to_dict(),
        "forwards": generation.forwards,
    }


def _for_decoding(model: str, fields: dict[str, Any]) -> Any:
    """A model that is loaded; without what decoding does not need, where that can be."""
    from midspan import start

    if not fields.keys() <= _PLAIN:
        return load_model(model)
    start.wait()
    from midspan.models.bare_loading import load_bare

    return load_bare(model) or load_model(model)


def _served(
    model: str,
    prompt: str,
    fields: dict[str, Any],
    phrases: list[tuple[int, str]],
    seed: int,
    watch: bool,
) -> tuple[str, dict[str, Any]]:
    """The answer of a model behind a server; its tokens and their steps are not known."""
    if watch:
        raise MidspanError(f"--watch: {model} is served, and shows no steps; watch a local model")
    from midspan.engine.calls import Anchor, Chat, user
    from midspan.engine.server import ServedDecoding
    from midspan.studies.redteam.ask import ask_server

    servers = group_of(fields, "servers")
    settings = {name: value for name, value in fields.items() if name != "servers"}
    own = settings.keys() & ServedDecoding.model_fields.keys()
    sent = ServedDecoding.model_validate({name: settings[name] for name in own})
    others = tuple((name, value) for name, value in settings.items() if name not in own)
    call = Chat(
        # A refusal names what asks for more than a text.
        ", ".join([*(["anchor"] if phrases else []), *(name for name, _ in others)]) or "prompt",
        (user(prompt),),
        temperature=sent.temperature,
        top_p=sent.top_p,
        max_tokens=sent.length,
        anchors=tuple(Anchor(text, start) for start, text in phrases),
        decoding=others,
    )
    reply = ask_server(model, call, seed, servers)
    said = {name: getattr(reply, name) for name in ("thoughts", "rejected_by")}
    return reply.raw, {
        "settings": settings,
        "text": reply.raw,
        **{name: text for name, text in said.items() if text},
        "usage": {"prompt_tokens": reply.prompt_tokens, "tokens": reply.tokens},
        "tokens": None,
        "trace": None,
    }
