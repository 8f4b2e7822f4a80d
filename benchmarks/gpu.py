"""What a quarter of an hour on one GPU shows: correctness, alignment, decoding, graphs.

Run: python benchmarks/gpu.py --minutes 8 [-o gpu.json]
     python benchmarks/gpu.py --tiny   (hand-sized, on any device: checks the script)

Stages run in order of worth; each is printed and written, to FILE and as a table beside it, before
the next. None is begun that would not end before `--minutes` are over, as far as the stages done
tell, and then the process ends whatever it does. Weights are random in LLaDA-8B's shape, made on
the device: it takes 20 GB of GPU memory, and more for the larger batches. The peak is that of a
large bf16 matrix product measured in the same run, not the data sheet's. Needs the repository and
midspan's own dependencies; the 4-bit stage needs bitsandbytes. Reads nothing from a network.
"""

import time

STARTED = time.monotonic()

import argparse  # noqa: E402
import tempfile  # noqa: E402
from collections.abc import Sequence  # noqa: E402
from functools import partial  # noqa: E402
from pathlib import Path  # noqa: E402
from unittest import mock  # noqa: E402

import torch  # noqa: E402
from gpu_adapters import random_adapter  # noqa: E402
from gpu_alignment import RECIPES, WARM_UP, Recipe, align  # noqa: E402
from gpu_checks import check_stages  # noqa: E402
from gpu_decoding import Counter, Sizes, decode, graphs, kernels, operations, step_graph  # noqa: E402
from gpu_stages import Outcome, Session, Stage, free_memory, matmul_peak  # noqa: E402
from random_weights import random_llada, trunk  # noqa: E402

from midspan.decoding import fixed  # noqa: E402
from midspan.models import DiffusionLM  # noqa: E402
from midspan.models.adapters import attach_adapter  # noqa: E402

LLADA_8B = {
    "vocab_size": 126_464, "hidden_size": 4096, "intermediate_size": 12_288,
    "num_hidden_layers": 32, "num_attention_heads": 32, "num_key_value_heads": 32,
}  # fmt: skip
TINY = trunk(2, 64, 128, 512)
# Variant, batch, mode: the questions that the others hang on come first.
CELLS = [
    *(("base", 32, "exact"), ("base", 32, "dual cache"), ("base", 1, "exact")),
    *(("base", 1, "dual cache"), ("adapter", 32, "exact"), ("adapter", 32, "dual cache")),
    *(("adapter", 1, "exact"), ("adapter", 1, "dual cache")),
    *(("base", batch, "dual cache, threshold 0.9") for batch in (32, 1, 8)),
    *(("base", 8, mode) for mode in ("exact", "dual cache")),
    *(("adapter", batch, "dual cache, threshold 0.9") for batch in (32, 1, 8)),
    *(("adapter", 8, mode) for mode in ("exact", "dual cache")),
]
# Steps of fixed shapes, launched and as one compiled graph; a compilation takes a minute or more.
FIXED = [
    *(("adapter", 32, "dual cache, threshold 0.9; fixed"), ("adapter", 32, "exact; fixed")),
    *(("base", 1, "dual cache; fixed"), ("base", 32, "dual cache; fixed")),
]
COMPILED = [
    *(("base", 1, "dual cache; compiled"), ("adapter", 32, "exact; compiled")),
    ("adapter", 32, "dual cache, threshold 0.9; compiled"),
]


class Rig:
    """The large model and what stages share; made when the first of them asks for it."""

    def __init__(self, device: str, tiny: bool, scratch: Path) -> None:
        self.device, self.tiny, self.scratch = device, tiny, scratch
        self.sizes = Sizes(16, 32, 4) if tiny else Sizes()
        # What an estimate starts from; a GPU's is measured first.
        self.peak = 4e14
        self._lm: DiffusionLM | None = None
        self._adapted: DiffusionLM | None = None
        self._counter: Counter | None = None

    def base(self) -> DiffusionLM:
        """The model in bf16, without an adapter."""
        if self._lm is None:
            self._lm = random_llada(TINY if self.tiny else LLADA_8B, self.device, torch.bfloat16)
        if self._adapted is not None:
            self._lm.model = self._adapted.model.unload()
            self._adapted = None
        return self._lm

    def adapted(self) -> DiffusionLM:
        """The model under an adapter, as midspan puts one on."""
        if self._adapted is None:
            base = self.base()
            if not (self.scratch / "adapter_config.json").is_file():
                random_adapter(base, self.scratch)
            self._adapted = attach_adapter(base, self.scratch)
        return self._adapted

    def drop(self) -> None:
        """The base is made anew for the next stage."""
        self._lm = self._adapted = self._counter = None
        free_memory()

    def counter(self) -> Counter:
        """Counts what goes through the base."""
        if self._counter is None:
            self._counter = Counter(self.base())
        return self._counter

    def seconds(self, operations: float, launches: int) -> float:
        """A guess: three tenths of the peak, and 20 ms a forward to launch it."""
        if self.tiny:
            return 1.0
        return operations / (0.3 * self.peak) + 0.02 * launches

    def measure_peak(self) -> Outcome:
        """The bf16 product that shares are of."""
        self.peak = matmul_peak(self.device, 256 if self.tiny else 8192)
        text = f"{self.peak / 1e12:.3f} TFLOP/s, bf16"
        return Outcome(text, {"operations_per_second": self.peak})

    def make(self) -> Outcome:
        """The weights."""
        count = sum(weight.numel() for weight in self.base().base.parameters())
        return Outcome(f"{count / 1e9:.3g} billion weights, bf16", {"weights": count})

    def align(self, recipe: Recipe) -> Outcome:
        """A recipe, on a base of its own where it changes the weights."""
        if self.tiny:
            recipe = Recipe(recipe.name, 2, recipe.checkpointing, recipe.four_bit, steps=2)
        try:
            return align(self.base(), recipe, self.peak)
        finally:
            if recipe.four_bit:
                self.drop()

    def decode(self, variant: str, batch: int, mode: str) -> Outcome:
        """A cell of the decoding table."""
        counter = self.counter()
        lm = self.adapted() if variant == "adapter" else self.base()
        batch = min(batch, 2) if self.tiny else batch
        return decode(lm, counter, mode, batch, self.sizes, self.peak)

    def compiled_step(self, variant: str, batch: int, mode: str) -> Outcome:
        """A cell in which a whole step is one graph; hand-sized, it is traced and not compiled."""
        made = fixed.compiled_step
        traced = partial(made, backend="eager") if self.tiny else made
        with mock.patch.object(fixed, "compiled_step", traced):
            return self.decode(variant, batch, mode)

    def kernels(self, variant: str, batch: int, mode: str) -> Outcome:
        """What a cell launches."""
        lm = self.adapted() if variant == "adapter" else self.base()
        return kernels(lm, mode, min(batch, 2) if self.tiny else batch, self.sizes)

    def compiled(self, batch: int, mode: str) -> Outcome:
        """A cell of the decoding table under `lm.compile`, which stays on."""
        self.base().compile()
        return self.decode("base", batch, mode)

    def guess_alignment(self, recipe: Recipe) -> float:
        """Seconds of a recipe, with those that quantising takes."""
        steps = recipe.steps + WARM_UP
        seconds = self.seconds(steps * recipe.operations, 4 * steps)
        return 4 + seconds + 25 * recipe.four_bit

    def guess_decoding(self, batch: int, mode: str) -> float:
        """Seconds of a cell, its warm-up included."""
        windows = self.sizes.prompt + self.sizes.length if "exact" in mode else 48
        forwards = self.sizes.length if "threshold" in mode else self.sizes.steps + 8
        return 2 + self.seconds(forwards * operations(batch, windows), forwards)


def stages(rig: Rig) -> list[Stage]:
    """All of them, in order of worth."""
    listed = [
        Stage("matrix product", "peak", lambda: 2.0, rig.measure_peak),
        *check_stages(rig.device, rig.tiny),
        Stage("weights of LLaDA-8B's shape", "weights", lambda: 15.0, rig.make),
    ]
    for recipe in RECIPES:
        name, guess = f"alignment, {recipe.name}", partial(rig.guess_alignment, recipe)
        listed.append(Stage(name, "alignment", guess, partial(rig.align, recipe)))
    for variant, batch, mode in CELLS:
        name = f"decoding, batch {batch}, {mode}, {variant}"
        guess = partial(rig.guess_decoding, batch, mode)
        listed.append(Stage(name, "decoding", guess, partial(rig.decode, variant, batch, mode)))
    for variant, batch, mode in FIXED:
        name = f"decoding, batch {batch}, {mode}, {variant}"
        guess = partial(rig.guess_decoding, batch, mode)
        listed.append(Stage(name, "decoding", guess, partial(rig.decode, variant, batch, mode)))
    for variant, batch, mode in (
        *(("base", 1, "dual cache"), ("base", 1, "dual cache; fixed")),
        *(("adapter", 32, "exact"), ("adapter", 32, "dual cache")),
    ):
        name = f"kernels, batch {batch}, {mode}, {variant}"
        run = partial(rig.kernels, variant, batch, mode)
        listed.append(Stage(name, "kernels", lambda: 8.0, run))
    for batch in (1, 32):
        name = f"CUDA graph of a whole step, batch {batch}, block of 32"
        run = partial(lambda size: step_graph(rig.base(), size, rig.sizes), batch)
        listed.append(Stage(name, "graphs", lambda: 5.0, run, needs_cuda=True))
    for number, (variant, batch, mode) in enumerate(COMPILED):
        name = f"decoding, batch {batch}, {mode}, {variant}"
        run = partial(rig.compiled_step, variant, batch, mode)
        # Hand-sized, one is enough to see that it runs.
        listed.append(
            Stage(name, "compiled", lambda: 90.0, run, needs_cuda=not (rig.tiny and number == 1))
        )
    for batch, length in ((1, 32), (1, 256), (32, 32)):
        name = f"CUDA graph of a forward, {batch} x {length}"
        run = partial(lambda size: graphs(rig.base(), *size), (batch, length))
        listed.append(Stage(name, "graphs", lambda: 5.0, run, needs_cuda=True))
    for batch, mode in ((32, "exact"), (1, "dual cache")):
        name = f"compiled: decoding, batch {batch}, {mode}, base"
        run = partial(rig.compiled, batch, mode)
        listed.append(Stage(name, "compiled", lambda: 60.0, run, needs_cuda=True))
    return listed


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--minutes", type=float, default=8.0, help="a hard wall")
    parser.add_argument("--tiny", action="store_true")
    parser.add_argument("-o", "--output", type=Path, default=Path("gpu.json"))
    options = parser.parse_args(arguments)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    if device == "cpu" and not options.tiny:
        parser.error("no GPU here; --tiny checks the script on the CPU")
    started = STARTED if arguments is None else time.monotonic()
    session = Session(options.minutes, options.output, started)
    with tempfile.TemporaryDirectory() as scratch:
        session.run(stages(Rig(device, options.tiny, Path(scratch))))
    session.close()
    print("\n" + session.table())


if __name__ == "__main__":
    main()
