"""What a task asks of one model: prompts that fit, requests, options to score."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from midspan.errors import MidspanError
from midspan.journal.generation import GenerationWork
from midspan.journal.journal import key_of
from midspan.tasks.task import Item, Task

if TYPE_CHECKING:
    from midspan.decoding import DecodingConfig, Request, Rule
    from midspan.models import DiffusionLM
    from midspan.scoring.continuations import MultipleChoice


@dataclass(frozen=True)
class How:
    """What a run chooses beside the preset.

    Attributes:
        batch_size: Rows that go through the model together.
        seed: Of all draws.
        overrides: Fields of a `DecodingConfig` that go before the preset's.
        fail_fast: Raise an error in the code that scores or judges a response; by default it is
            recorded in place of the verdict.
    """

    batch_size: int = 32
    seed: int = 0
    overrides: Mapping[str, Any] = field(default_factory=dict)
    fail_fast: bool = False


@dataclass(frozen=True)
class FittedTask:
    """A task ready for one model: nothing is left that bad input could stop.

    Attributes:
        task: The task.
        config: Its decoding; None where options are scored by likelihood.
        prompts: Token ids of each item's prompt.
        shots: Examples in each prompt; fewer than the preset's where they did not fit.
        answers: Token ids of each item's options; empty where responses are generated.
        settings: All that a score depends on beside the model, for people and for comparison.
    """

    task: Task
    config: "DecodingConfig | None"
    prompts: tuple[tuple[int, ...], ...]
    shots: tuple[int, ...]
    answers: tuple[tuple[tuple[int, ...], ...], ...]
    settings: Mapping[str, Any]

    @property
    def dropped(self) -> int:
        """Items whose prompt lost examples."""
        return sum(shots < self.task.preset.shots for shots in self.shots)


def common_settings(task: Task, how: How) -> dict[str, Any]:
    """What of a score's settings is the same wherever the model is asked."""
    preset = task.preset
    return {
        "task": task.name,
        "preset": preset.name,
        "prompt": preset.prompt,
        "shots": preset.shots,
        "items": len(task.items),
        "data": task.source,
        "seed": how.seed,
        **({"judge": task.judged_by} if task.judged_by else {}),
    }


def check_samples(task: Task, temperature: float | None) -> None:
    """Refuse several samples of an item where all of them would be the same.

    Raises:
        MidspanError: The temperature is 0.
    """
    if task.preset.samples > 1 and not temperature:
        raise MidspanError(f"{task.name}: {task.preset.samples} samples need temperature above 0")


def settings_of(lm_or_family: Any, task: Task, how: How) -> dict[str, Any]:
    """Everything that moves the score of a model of this family.

    Raises:
        MidspanError: The preset and the overrides do not go together.
    """
    preset = task.preset
    common = common_settings(task, how)
    if preset.by_likelihood:
        return {**common, "scored": "likelihood of the options", "draws": preset.draws}
    config = preset.decoding(lm_or_family, how.overrides)
    check_samples(task, config.temperature)
    decoding = config.model_dump(mode="json")
    return {**common, "until": list(preset.until), "samples": preset.samples, "decoding": decoding}


def fit_prompts(lm: "DiffusionLM", task: Task, how: How) -> FittedTask:
    """Tokenise every prompt, and drop examples from the end where one does not fit the model.

    Raises:
        MidspanError: Naming the item that does not fit even without examples.
    """
    preset = task.preset
    settings = settings_of(lm, task, how)
    answers: tuple[tuple[tuple[int, ...], ...], ...] = ()
    config = None
    if preset.by_likelihood:
        assert task.options is not None
        answers = tuple(
            tuple(tuple(lm.encode_phrase(text)) for text in task.options(item))
            for item in task.items
        )
        rooms = [lm.max_length - max(map(len, options)) for options in answers]
    else:
        config = preset.decoding(lm, how.overrides)
        length = config.length
        if config.sampler == "block":
            length += config.block - 1  # the last block is filled to its end
        rooms = [lm.max_length - length] * len(task.items)
    rules = () if config is None else config.rules
    fitted = [
        _fit(lm, task, item, room, rules) for item, room in zip(task.items, rooms, strict=True)
    ]
    prompts, shots = zip(*fitted, strict=True)
    return FittedTask(task, config, prompts, shots, answers, settings)


def _fit(
    lm: "DiffusionLM", task: Task, item: Item, room: int, rules: "Sequence[Rule]"
) -> tuple[tuple[int, ...], int]:
    size = 0
    for shots in range(task.preset.shots, -1, -1):
        ids = _encode(lm, task, item, shots, rules)
        size = len(ids)
        if size <= room:
            return ids, shots
    raise MidspanError(
        f"{task.name}: the prompt of item {item.id} has {size} tokens without examples, and the "
        f"model has room for {room} beside the response; lower length in --config, or use a model "
        "with a longer context"
    )


def _encode(
    lm: "DiffusionLM", task: Task, item: Item, shots: int, rules: "Sequence[Rule]"
) -> tuple[int, ...]:
    from midspan.decoding import guarded

    prompt = task.prompt(item, shots)
    if prompt.chat:
        ids = lm.encode_chat(guarded(prompt.messages, rules))
    else:
        ids = lm.encode_text("".join(message["content"] for message in prompt.messages))
    return (*ids, *lm.encode_text(prompt.prefix)) if prompt.prefix else tuple(ids)


def work_of(lm: "DiffusionLM", fitted: FittedTask, how: How) -> "GenerationWork | ChoiceWork":
    """What has to be computed, in batches."""
    if fitted.config is None:
        return ChoiceWork(lm, fitted, how)
    requests = [
        _request(lm, fitted, index, _seed(how.seed, item.id, sample))
        for index, item in enumerate(fitted.task.items)
        for sample in range(fitted.task.preset.samples)
    ]
    return GenerationWork(lm, requests, fitted.config, how.batch_size)


def _request(lm: "DiffusionLM", fitted: FittedTask, index: int, seed: int) -> "Request":
    from midspan.decoding import Request, chat_request

    plain = Request(fitted.prompts[index], seed=seed)
    assert fitted.config is not None
    if not any(rule.screens_prompts for rule in fitted.config.rules):
        return plain
    prompt = fitted.task.prompt(fitted.task.items[index], fitted.shots[index])
    if not prompt.chat:
        return plain
    request = chat_request(lm, prompt.messages, fitted.config, seed=seed)
    if request.copies is None:
        return replace(plain, rejected_by=request.rejected_by)
    prefix = tuple(lm.encode_text(prompt.prefix))
    copies = tuple((*ids, *prefix) for ids in request.copies.prompts)
    return replace(plain, copies=replace(request.copies, prompts=copies))


class ChoiceWork:
    """Options to score, in batches of similar prompt length, the longest first.

    So a lack of memory shows at the start, and not after hours.
    """

    def __init__(self, lm: "DiffusionLM", fitted: FittedTask, how: How) -> None:
        from midspan.scoring.continuations import MultipleChoice

        self._lm, self._how, self._draws = lm, how, fitted.task.preset.draws
        pairs = zip(fitted.prompts, fitted.answers, strict=True)
        choices = [MultipleChoice(prompt, answers) for prompt, answers in pairs]
        self.keys = [self._key(choice) for choice in choices]
        self._choices = dict(zip(self.keys, choices, strict=True))
        order = sorted(self._choices, key=lambda key: (len(self._choices[key].prompt_ids), key))
        size = how.batch_size
        batches = [order[start : start + size] for start in range(0, len(order), size)]
        self.batches = batches[::-1]

    def _key(self, choice: "MultipleChoice") -> str:
        return key_of(
            model=self._lm.fingerprint,
            prompt=choice.prompt_ids,
            answers=choice.answers,
            draws=self._draws,
            seed=self._how.seed,
        )

    def compute(self, batch: Sequence[str]) -> dict[str, Any]:
        """Score one batch."""
        from midspan.scoring.continuations import score_choices
        from midspan.scoring.likelihood import ScoreOptions

        options = ScoreOptions(
            samples=self._draws, seed=self._how.seed, batch_size=self._how.batch_size
        )
        scored = score_choices(self._lm, [self._choices[key] for key in batch], options)
        return {
            key: {
                "values": [answer.value for answer in one.answers],
                "errors": [answer.error for answer in one.answers],
                "forwards": one.forwards,
            }
            for key, one in zip(batch, scored, strict=True)
        }

    def checked(self, value: Any) -> Any:
        """The scores of an item's options, whole."""
        return _read_scores(value)


def _read_scores(fields: Any) -> Any:
    values, errors = fields["values"], fields["errors"]
    if not (type(fields["forwards"]) is int and len(values) == len(errors) > 0):
        raise TypeError("every option has a score and its error, all have their forwards")
    if not all(type(number) is float for number in (*values, *errors)):
        raise TypeError("scores and their errors are numbers")
    return fields


def _seed(seed: int, item: str, sample: int) -> int:
    digest = hashlib.sha256(f"{seed}/{item}/{sample}".encode()).digest()
    return int.from_bytes(digest[:6])
