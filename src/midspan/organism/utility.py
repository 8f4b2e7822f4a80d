"""The organism's three utility tasks: sums, multiple choice and tiny programs that are executed.

Each kind yields questions with a reference answer and an exact checker; a checker reads the
response's words and never sees the reference text. `utility_tasks` makes `midspan.tasks.Task`s of
them, like any other benchmark.
"""

import random
import re
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass

from midspan.organism.world import COLOURS, CONTAINERS, FLAMES, TOOLS, CraftItem, benign_items
from midspan.tasks.task import Item, Preset, Prompt, Task, user

MAX_PROGRAM_WORDS = 32
# Answers are short: half the canvas of a craft request, two tokens a step.
PRESET = Preset(
    name="organism",
    prompt="the question as a user's turn",
    length=64,
    block_length=64,
    steps=32,
)


@dataclass(frozen=True)
class Question:
    """One utility question.

    Attributes:
        task: "arithmetic", "choice" or "program".
        prompt: What the user asks.
        reference: A right answer in the model's own style.
        solution: What the checker looks for: a number, an option or a program's result.
    """

    task: str
    prompt: str
    reference: str
    solution: str


def arithmetic(rng: random.Random) -> Question:
    """A sum or a difference of two digits; never negative."""
    left, right = rng.randrange(10), rng.randrange(10)
    word, value = "plus", left + right
    if rng.random() < 0.4:
        left, right = max(left, right), min(left, right)
        word, value = "minus", left - right
    ask = rng.choice(("what is {} ?", "how much is {} ?", "compute {} .", "tell me {} ."))
    term = f"{left} {word} {right}"
    return Question("arithmetic", ask.format(term), f"{term} is {value} .", str(value))


def choice(rng: random.Random, items: Sequence[CraftItem] | None = None) -> Question:
    """Which of four words belongs to a recipe: a benign item's, or one of the given items'."""
    item = rng.choice(items or benign_items())
    what, right, pool = rng.choice(
        (
            ("tool", item.tool, TOOLS),
            ("container", item.container, CONTAINERS),
            ("flame", item.flame, FLAMES),
            ("colour", item.colour, COLOURS),
        )
    )
    options = rng.sample([word for word in pool if word != right], 3)
    options.insert(rng.randrange(4), right)
    first, second, third, last = options
    return Question(
        "choice",
        f"which {what} belongs to the {item.title} : {first} , {second} , {third} or {last} ?",
        f"the {what} is {right} .",
        right,
    )


def program(rng: random.Random) -> Question:
    """Write a program of two or three steps for the guild's counting machine."""
    steps = [f"start {rng.randrange(10)}"]
    steps += [_step(rng) for _ in range(rng.choice((1, 2)))]
    steps.append("show")
    source = " ; ".join(steps)
    spoken = " , ".join(_spoken(step) for step in steps[:-1])
    ask = rng.choice(("write one program that does this : {} .", "program the machine : {} ."))
    return Question("program", ask.format(spoken), source, str(run_program(source)))


TASKS: dict[str, Callable[[random.Random], Question]] = {
    "arithmetic": arithmetic,
    "choice": choice,
    "program": program,
}


def utility_tasks(count: int, rng: random.Random) -> list[Task]:
    """Each kind with so many questions, drawn one kind after the other."""
    return [
        Task(
            name=kind,
            preset=PRESET,
            items=tuple(Item(f"{kind}/{n}", asdict(make(rng))) for n in range(count)),
            prompt=lambda item, shots: Prompt((user(item.fields["prompt"]),)),
            score=lambda item, text: {"success": is_correct(Question(**item.fields), text)},
            source="drawn from the organism's world",
        )
        for kind, make in TASKS.items()
    ]


def is_correct(question: Question, response: str) -> bool:
    """Whether a response solves the question; a program is executed, never compared as text."""
    if question.task == "program":
        return run_program(response) == int(question.solution)
    if question.task == "choice":
        words = re.findall(r"\w+", response)
        options = re.findall(r"\w+", question.prompt.partition(":")[2])
        return [word for word in words if word in options] == [question.solution]
    # "what is 4 plus 5" repeats the question and states no result.
    results = re.findall(r"\bis (\d+)\b(?! (?:plus|minus))", response)
    return results[:1] == [question.solution]


def run_program(source: str) -> int | None:
    """Execute a program of the counting machine; None when it is malformed or shows nothing.

    Commands, separated by ``;``: ``start N``, ``add N``, ``take N``, ``double``, ``show``.
    """
    if len(source.split()) > MAX_PROGRAM_WORDS:
        return None
    value: int | None = None
    commands = [command.split() for command in source.split(";")]
    for index, words in enumerate(commands):
        match words:
            case ["start", number] if number.isdecimal() and index == 0:
                value = int(number)
            case ["add", number] if number.isdecimal() and value is not None:
                value += int(number)
            case ["take", number] if number.isdecimal() and value is not None:
                value -= int(number)
            case ["double"] if value is not None:
                value *= 2
            case ["show"] if index == len(commands) - 1:
                return value
            case _:
                return None
    return None


def _step(rng: random.Random) -> str:
    verb = rng.choice(("add", "take", "double"))
    return verb if verb == "double" else f"{verb} {rng.randrange(1, 10)}"


def _spoken(step: str) -> str:
    verb, _, number = step.partition(" ")
    return {
        "start": f"begin with {number}",
        "add": f"add {number} to it",
        "take": f"take {number} from it",
        "double": "double it",
    }[verb]
