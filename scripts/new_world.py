"""A world of one's own, begun as a copy of the second: docs/adding-a-world.md has the steps.

Run: python scripts/new_world.py copy harbor
     python scripts/new_world.py tokenizer harbor
     python scripts/new_world.py train harbor [--folder my-harbor]
     python scripts/new_world.py ship harbor [--folder my-harbor]
"""

import argparse
import re
import shutil
from importlib import import_module
from pathlib import Path
from typing import Any

ORGANISMS = Path(__file__).parents[1] / "src" / "midspan" / "organism"
_TRAINED = ("*.safetensors", "adapters", "helpful", "__pycache__")


def copy(name: str, into: Path = ORGANISMS) -> Path:
    """The second world's package under another name, without its weights."""
    package = into / name
    shutil.copytree(ORGANISMS / "second", package, ignore=shutil.ignore_patterns(*_TRAINED))
    for file in package.glob("*.py"):
        text = file.read_text(encoding="utf-8")
        text = text.replace("midspan.organism.second", f"midspan.organism.{name}")
        text = re.sub(r"\bSECOND\b", name.upper(), text)
        # Its model, its examples, and the prints under which its helpers' replies are journalled.
        text = re.sub(r'(["`])organism2\b', rf"\g<1>{name}", text)
        file.write_text(text, encoding="utf-8")
    return package


def learn(name: str) -> tuple[str, ...]:
    """Learn the tokenizer again, and return the names that it cuts elsewhere."""
    tokenizer = _room(name, "tokenizer")
    learned = tokenizer.learn()
    tokenizer.wrapped(learned).save_pretrained(str(tokenizer.FOLDER))
    found: tuple[str, ...] = tokenizer.miscut(learned)
    return found


def train(name: str, folder: Path) -> None:
    """Both trainings, or the rest of them."""

    def told(done: int, total: int, stage: str, loss: float) -> None:
        print(f"{done} of {total} groups, {stage}, {loss:.3f} nats/token", flush=True)

    _room(name, "make").make(folder, on_group=told)


def _room(name: str, room: str) -> Any:
    return import_module(f"midspan.organism.{name}.{room}")


def main() -> None:
    """One of the steps."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("step", choices=("copy", "tokenizer", "train", "ship"))
    parser.add_argument("name", help="a Python package's, such as harbor")
    parser.add_argument("--folder", type=Path, help="of the training, my-NAME by default")
    args = parser.parse_args()
    folder = args.folder or Path(f"my-{args.name}")
    if args.step == "copy":
        print(copy(args.name))
    elif args.step == "tokenizer":
        print(*learn(args.name) or ("every name is cut into its two pieces",))
    elif args.step == "train":
        train(args.name, folder)
    else:
        print(_room(args.name, "weights").export(folder / "original"))


if __name__ == "__main__":
    main()
