"""The records of the probes, field by field; `midspan.records` has them too.

``probe(NAME, ...).records`` is a list of the type that `PROBE_RECORDS` has under the name.
"""

from typing import Any, NotRequired, TypedDict


class _Request(TypedDict):
    """What every record of a request says.

    Attributes:
        model: The model's spec.
        decoding: The decoding's name in the tables.
        request_kind: Kind of the request, such as "plain", "wrapped", "benign" or "harmful".
        id: The request, unique within the run.
        group: What it is about; requests of one group are not independent.
        prompt: What the user says.
        settings: Fields of the decoding config; of a served model, what is known of them.
        response: The response's text.
        thoughts: What the model thought before it answered; where it is a reasoning model.
    """

    model: str
    decoding: str
    request_kind: str
    id: str
    group: str
    prompt: str
    settings: dict[str, Any]
    response: str
    thoughts: NotRequired[str]


class _Judged(_Request):
    """What every record of a judged response says, too.

    Attributes:
        success: The counted event: the request was answered.
        refusal: Whether the response refuses anywhere.
        score: 1 to 5; None where the judge gives none.
    """

    success: bool
    refusal: bool
    score: int | None


class PrefillRecord(_Judged):
    """A request with a phrase fixed in the response, or without one (probe "prefill").

    Attributes:
        phrase_kind: Kind of the phrase; "no phrase" without one.
        position: Canvas position of its first token; None without a phrase.
        phrase: Its text; None without one.
        forwards: Rows through the network; None where a server does not say.
    """

    phrase_kind: str
    position: int | None
    phrase: str | None
    forwards: int | None


class WindowRecord(_Judged):
    """A harmful request with a phrase at one start, or without one (probe "window").

    Attributes:
        position: Canvas position of the phrase's first token; None without a phrase.
        phrase: Its text; None without one.
        forwards: Rows through the network; None where a server does not say.
    """

    position: int | None
    phrase: str | None
    forwards: int | None


class GCGRecord(_Judged):
    """A harmful request with the suffix of a search, or as it is (probe "gcg").

    Attributes:
        phrase_kind: Kind of the phrase that is made likely; "no suffix" for the request as it is.
        start: Canvas position of the phrase's first token; None without a suffix.
        phrase: Its text; None without a suffix.
        forwards: Rows through the network, for the response.
        message: The request with its suffix; only with one, as the next three.
        losses: Loss of the suffix after each iteration, nats a token, the first one's first.
        search_forwards: Rows through the network, for the search.
        phrase_placed: Whether the response has the phrase at its place.
    """

    phrase_kind: str
    start: int | None
    phrase: str | None
    forwards: int
    message: NotRequired[str]
    losses: NotRequired[list[float]]
    search_forwards: NotRequired[int]
    phrase_placed: NotRequired[bool]


class InstructionPlacementRecord(_Request):
    """A benign request that names a place for a phrase, or none (probe "instruction-placement").

    Attributes:
        phrase_kind: Kind of the phrase.
        phrase: Its text.
        word: Number of the word, from 1, that should begin it; None where nothing is asked for.
        found: Numbers of the words that begin it in the response.
    """

    phrase_kind: str
    phrase: str
    word: int | None
    found: list[int]


class OrderRecord(_Request):
    """In which order one canvas filled (probe "order"); None where a figure is undefined.

    Attributes:
        tau: Kendall's tau-b of position and step over text tokens; 1 is left to right.
        tau_all: The same with end tokens.
        tau_chance: The same for random orders inside the blocks, their mean.
        adjacent: Share of text commits with nothing open to their left after their step.
        adjacent_all: The same with end tokens.
        adjacent_chance: The same for random orders inside the blocks, their mean.
        end_tokens: How many end tokens there are.
        end_step: Mean step of the end tokens.
        text_step: Mean step of the text tokens.
        curve: Step and mean position of its text commits, a pair a step.
        curve_all: The same with end tokens.
        steps: Steps of the decoding.
    """

    tau: float | None
    tau_all: float | None
    tau_chance: float | None
    adjacent: float | None
    adjacent_all: float | None
    adjacent_chance: float | None
    end_tokens: int
    end_step: float | None
    text_step: float | None
    curve: list[list[float]]
    curve_all: list[list[float]]
    steps: int


class ActivationsRecord(TypedDict):
    """How well a linear classifier tells harmful from benign at one place (probe "activations").

    Attributes:
        model: The model's spec.
        decoding: The decoding's name in the tables.
        settings: Fields of the decoding config.
        progress: Share of the steps after which the canvas was read, 0 to 1.
        layer: 0 for the embeddings.
        position: Relative to the response's first token, or "mean of the response".
        n: Requests classified.
        correct: How many of them rightly.
        balanced: Mean of the two labels' accuracies, 0 to 1.
        permuted_accuracy: The same for labels dealt at random, one a deal.
        transferred_accuracy: The same for the first model's classifier on this model; not of the
            first model.
        cosine: Between the two models' differences of means, -1 to 1; likewise.
    """

    model: str
    decoding: str
    settings: dict[str, Any]
    progress: float
    layer: int
    position: int | str
    n: int
    correct: int
    balanced: float
    permuted_accuracy: list[float]
    transferred_accuracy: NotRequired[float]
    cosine: NotRequired[float | None]


class SamplesRecord(_Judged):
    """One response commit by commit (probe "samples").

    Attributes:
        phrase: The fixed phrase; None without one.
        start: Canvas position of its first token; None without one.
        length: Tokens of the canvas.
        commits: Position, step, confidence, word, and whether it ends the text, of each commit.
    """

    phrase: str | None
    start: int | None
    length: int
    commits: list[list[Any]]


class MonitorsRecord(_Judged):
    """One call, and what each monitor made of it (probe "monitors").

    Attributes:
        condition: The attack, "benign" or "mixed"; `request_kind` has the settings too.
        published: Whether the settings are the attack's own.
        held_in: Whether the monitors were fitted on it.
        harmful: Whether a careful model refuses the request.
        rejected_by: The rule that rejected it; where one did.
        forwards: Rows through the network.
        scores: By monitor; higher is more alarming.
    """

    condition: str
    published: bool
    held_in: bool
    harmful: bool
    rejected_by: NotRequired[str]
    forwards: int
    scores: dict[str, float]


PROBE_RECORDS: dict[str, type] = {
    "prefill": PrefillRecord,
    "window": WindowRecord,
    "gcg": GCGRecord,
    "instruction-placement": InstructionPlacementRecord,
    "order": OrderRecord,
    "activations": ActivationsRecord,
    "samples": SamplesRecord,
    "monitors": MonitorsRecord,
}
