"""midspan's models inside lm-eval: every benchmark of that harness (version 0.4.13).

    from lm_eval import simple_evaluate
    simple_evaluate(model=MidspanLM("organism"), tasks=[...])

The canvas, its steps and the rules of decoding are midspan's; of a task's `generation_kwargs` only
`until` means something here, and the others are named in a warning.
"""

import warnings
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from midspan.errors import MidspanError
from midspan.journal.generation import GenerationWork, Work, each_batch
from midspan.journal.journal import Journal, key_of
from midspan.journal.ranks import (
    check_unsharded,
    join_others,
    open_journal,
    this_rank,
    wait_for_all,
)
from midspan.tasks.task import cut

try:
    from lm_eval.api.model import LM
except ImportError as error:
    raise MidspanError("--lm-eval: not installed; pip install 'midspan[lm-eval]'") from error

if TYPE_CHECKING:
    from lm_eval.api.instance import Instance

    from midspan.models import DiffusionLM
    from midspan.scoring.continuations import MultipleChoice

_UNDERSTOOD = {"until", "do_sample"}


@dataclass(frozen=True)
class Settings:
    """How the harness's requests are answered.

    Attributes:
        decoding: Fields of a `DecodingConfig` that go before the family's published ones.
        draws: Monte-Carlo draws for answers of several tokens.
        batch_size: Rows that go through the model together.
        seed: Of all draws.
    """

    decoding: Mapping[str, Any] = field(default_factory=dict)
    draws: int = 128
    batch_size: int = 32
    seed: int = 0


class MidspanLM(LM):
    """A diffusion language model as lm-eval's `LM`.

    Args:
        model: A spec, or a loaded `DiffusionLM`.
        settings: How requests are answered.
        journal: Folder of the journal, in which every batch is written before its first answer is
            used; without it lm-eval's own `use_cache` gets each answer as its batch is done. Pass
            `cache_path(...)` to that option: its file must not serve another model or other
            settings.

    """

    def __init__(
        self,
        model: "str | DiffusionLM",
        settings: Settings | None = None,
        journal: Path | None = None,
    ) -> None:
        super().__init__()
        from midspan.decoding import decoding_config
        from midspan.models import load

        check_unsharded()
        self._process = this_rank()
        if self._process.count > 1:
            join_others()
        self.settings = settings or Settings()
        self.lm = load(model) if isinstance(model, str) else model
        self.config = decoding_config(self.lm, **self.settings.decoding)
        self._rank, self._world_size = self._process.index, self._process.count
        self._device = self.lm.device
        self._journal = journal
        self._cut: set[str] = set()

    @property
    def truncated(self) -> int:
        """Prompts of this process that lost their beginning, because they did not fit the model."""
        return len(self._cut)

    def truncated_of_all(self) -> int:
        """Those of all processes, in the first; every process must ask, and the others get 0."""
        # lm-eval gives some processes a request twice, so that all have as many.
        each = self.gather_object(self._cut) if self.world_size > 1 else [self._cut]
        return len(set().union(*each or ()))

    @property
    def digest(self) -> str:
        """A hash of the checkpoint's weights and of everything that an answer depends on."""
        config = self.config.model_dump(mode="json")
        options = {"draws": self.settings.draws, "seed": self.settings.seed}
        return key_of(model=self.lm.fingerprint, decoding=config, **options)[:16]

    def cache_path(self, base: str | Path) -> str:
        """A path for lm-eval's `use_cache` that no other model or setting shares."""
        return f"{base}-{self.digest}"

    @property
    def tokenizer_name(self) -> str:
        """What lm-eval's cache of requests keys prompts by."""
        return f"midspan-{self.lm.family.name}-{self.lm.tokenizer.name_or_path}".replace("/", "__")

    def chat_template(self, chat_template: bool | str = False) -> str:
        """Named in results; the format itself is the family's."""
        return f"midspan:{self.lm.family.name}" if chat_template else ""

    def apply_chat_template(
        self, chat_history: list[dict[str, str]], add_generation_prompt: bool = True
    ) -> str:
        """The prompt as text, up to the assistant's header and what its turn begins with."""
        if add_generation_prompt:
            return self.lm.chat_text(chat_history)
        return self.lm.chat_text(chat_history[:-1]) + chat_history[-1]["content"]

    def generate_until(self, requests: "list[Instance]", disable_tqdm: bool = False) -> list[str]:
        """A response to each prompt, cut before the first stop wherever that stands."""
        from midspan.decoding import Request

        _warn_of_ignored(requests)
        prompts = [
            self._prompt_ids(str(request.args[0]), self.config.length) for request in requests
        ]
        # Repeats of one prompt must differ where tokens are sampled.
        seen: Counter[tuple[int, ...]] = Counter()
        decode_requests = []
        for ids in map(tuple, prompts):
            decode_requests.append(Request(ids, seed=self.settings.seed + seen[ids]))
            seen[ids] += 1
        work = GenerationWork(self.lm, decode_requests, self.config, self.settings.batch_size)
        answers: list[str] = [""] * len(requests)
        for index, value in self._answers(work):
            request = requests[index]
            answers[index] = cut(value["text"], _stops(request.args[1]))
            self.cache_hook.add_partial("generate_until", request.args, answers[index])
        return answers

    def loglikelihood(
        self, requests: "list[Instance]", disable_tqdm: bool = False
    ) -> list[tuple[float, bool]]:
        """Of each continuation: the Monte-Carlo bound, and whether greedy decoding gives it."""
        answers = [(0.0, False)] * len(requests)
        pairs = [self._split(*map(str, request.args)) for request in requests]
        work = _Continuations(self, pairs)
        for index, value in self._answers(work):
            answers[index] = (value["value"], value["greedy"])
            self.cache_hook.add_partial("loglikelihood", requests[index].args, answers[index])
        return answers

    def loglikelihood_rolling(
        self, requests: "list[Instance]", disable_tqdm: bool = False
    ) -> list[float]:
        """Of whole texts, in pieces that fit the model, each after the beginning of a text."""
        answers = []
        for request in requests:
            ids = self._encode(str(request.args[0]))
            start = self._start()
            room = self.lm.max_length - len(start)
            pieces = [ids[begin : begin + room] for begin in range(0, len(ids), room)]
            work = _Continuations(self, [(start, tuple(piece)) for piece in pieces], False)
            total = sum(value["value"] for _, value in self._answers(work))
            self.cache_hook.add_partial("loglikelihood_rolling", request.args, total)
            answers.append(total)
        return answers

    def all_gather(self, tensor: Any) -> Any:
        """One row a process."""
        from accelerate.utils import gather

        return gather(tensor.to(self.device))

    def gather_object(self, obj: Any, dst: int = 0) -> list[Any] | None:
        """Objects of all processes, in the first."""
        from accelerate.utils import gather_object

        objects = gather_object([obj])
        return list(objects) if self.rank == dst else None

    def barrier(self) -> None:
        """Wait for all processes."""
        wait_for_all()

    def _answers(self, work: Work) -> Iterator[tuple[int, Any]]:
        """Indices of the requests and what was computed for them, batch by batch as it is done."""
        indices: dict[str, list[int]] = {}
        for index, key in enumerate(work.keys):
            indices.setdefault(key, []).append(index)
        with self._open() as journal:
            for done in each_batch(work, journal):
                for key, value in done.items():
                    yield from ((index, value) for index in indices[key])

    def _open(self) -> "AbstractContextManager[Journal | None]":
        if self._journal is None:
            return nullcontext()
        return open_journal(self._journal, self._process)

    def _encode(self, text: str) -> list[int]:
        """Ids of a text in which the names of special tokens mean these tokens."""
        return self.lm.encode_marked(text)

    def _start(self) -> tuple[int, ...]:
        tokens = self.lm.tokens
        first = tokens.bos if tokens.bos is not None else tokens.eos
        return (int(first),)

    def _prompt_ids(self, text: str, room: int) -> list[int]:
        """The end of the prompt, as far as it fits beside the response; lm-eval's way."""
        ids = self._encode(text) or list(self._start())
        longest = self.lm.max_length - room
        if longest < 1:
            raise MidspanError(
                f"decoding.length: the response's {room} tokens leave no room for a prompt in the "
                f"model's {self.lm.max_length}; lower length in --config"
            )
        return self._fitting(text, ids, longest)

    def _fitting(self, text: str, ids: list[int], longest: int) -> list[int]:
        """The end of a prompt; one that loses its beginning is noted, once for all its answers."""
        if len(ids) > longest:
            self._cut.add(key_of(prompt=text))
        return ids[-longest:]

    def _split(self, context: str, continuation: str) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """Ids of both; spaces at the end of the context belong to the continuation, as there."""
        kept = context.rstrip(" ")
        continuation = context[len(kept) :] + continuation
        whole, front = self._encode(kept + continuation), self._encode(kept)
        answer = whole[len(front) :] or self._encode(continuation)
        longest = self.lm.max_length - len(answer)
        # Where the answer alone leaves no room, scoring refuses it with its length.
        if longest > 0:
            front = self._fitting(kept, front, longest)
        return tuple(front or self._start()), tuple(answer)


class _Continuations:
    """Prompts and continuations to score, in batches of similar length."""

    def __init__(
        self,
        owner: MidspanLM,
        pairs: Sequence[tuple[tuple[int, ...], tuple[int, ...]]],
        check_greedy: bool = True,
    ) -> None:
        self._owner, self._check_greedy = owner, check_greedy
        settings = owner.settings
        self.keys = [
            key_of(model=owner.lm.fingerprint, pair=pair, draws=settings.draws, seed=settings.seed,
                   greedy=check_greedy)
            for pair in pairs
        ]  # fmt: skip
        self._pairs = dict(zip(self.keys, pairs, strict=True))
        order = sorted(self._pairs, key=lambda key: (len(sum(self._pairs[key], ())), key))
        size = settings.batch_size
        self.batches = [order[start : start + size] for start in range(0, len(order), size)]

    def compute(self, batch: Sequence[str]) -> dict[str, Any]:
        """Score one batch; for one token the argmax says what greedy decoding gives."""
        from midspan.scoring.continuations import MultipleChoice, score_choices
        from midspan.scoring.likelihood import ScoreOptions

        owner, settings = self._owner, self._owner.settings
        options = ScoreOptions(
            samples=settings.draws, seed=settings.seed, batch_size=settings.batch_size
        )
        pairs = [self._pairs[key] for key in batch]
        choices = [MultipleChoice(prompt, (answer,)) for prompt, answer in pairs]
        scored = score_choices(owner.lm, choices, options)
        greedy = self._greedy([choice for choice in choices if len(choice.answers[0]) > 1])
        return {
            key: {
                "value": score.answers[0].value,
                "error": score.answers[0].error,
                "greedy": greedy[choice] if choice in greedy else score.answers[0].is_likeliest,
            }
            for key, choice, score in zip(batch, choices, scored, strict=True)
        }

    def checked(self, value: Any) -> Any:
        """A score, whole."""
        if not (type(value["value"]) is float and type(value["greedy"]) is bool):
            raise TypeError("a score is a number, greedy is true or false")
        return value

    def _greedy(self, choices: "Sequence[MultipleChoice]") -> "dict[MultipleChoice, bool]":
        """Whether a canvas as long as the answer, a token a step, becomes the answer."""
        from midspan.decoding import Request, decode, decoding_config

        is_greedy = dict.fromkeys(choices, False)
        if not self._check_greedy:
            return is_greedy
        for length in sorted({len(choice.answers[0]) for choice in choices}):
            group = [choice for choice in choices if len(choice.answers[0]) == length]
            config = decoding_config(length=length, steps=length, early_stop=False)
            requests = [Request(choice.prompt_ids) for choice in group]
            size = self._owner.settings.batch_size
            generations = decode(self._owner.lm, requests, config, batch_size=size)
            for choice, generation in zip(group, generations, strict=True):
                is_greedy[choice] = generation.tokens == choice.answers[0]
        return is_greedy


def _stops(arguments: Mapping[str, Any]) -> tuple[str, ...]:
    until = arguments.get("until") or ()
    return (until,) if isinstance(until, str) else tuple(until)


def _warn_of_ignored(requests: "Iterable[Instance]") -> None:
    ignored = {name for request in requests for name in request.args[1] if name not in _UNDERSTOOD}
    if ignored:
        warnings.warn(
            f"lm-eval's {', '.join(sorted(ignored))} is ignored: midspan's decoding settings hold",
            stacklevel=3,
        )
