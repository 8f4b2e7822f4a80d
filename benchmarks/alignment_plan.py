"""Memory and minutes of an alignment run by model, length and GPU: arithmetic, and its check.

Run: python benchmarks/alignment_plan.py          (the table of docs/scaling.md)
     python benchmarks/alignment_plan.py --check  (the memory formula against a measured CPU step)

Per token and layer the backward pass keeps about ACTIVATIONS_HIDDEN values of the hidden width and
ACTIVATIONS_MLP of the feed-forward width, which was fitted to the float32 steps of --check; with
gradient checkpointing it keeps the layer's input, and one layer's activations at a time. Time is
operations over a share of the data sheet's peak.
"""

import argparse
from dataclasses import dataclass

from midspan.alignment.scores import TILE_ELEMENTS

GIB = 2**30
# Norms and their wide copies, projections, rotated copies, LoRA inputs; gate, up, SiLU, product.
ACTIVATIONS_HIDDEN, ACTIVATIONS_MLP = 20, 6
LORA_RANK, LORA_BYTES = 32, 16  # fp32 weight, gradient and AdamW's two moments.
TILE_BYTES = 4 * 4  # Four float32 tensors of one tile of rows x words.
SHARE_OF_PEAK = 0.4  # An assumption until benchmarks/gpu.py has run.


@dataclass(frozen=True)
class Model:
    """What the arithmetic needs of a dense model."""

    name: str
    layers: int
    hidden: int
    mlp: int
    kv: int
    vocabulary: int

    @property
    def layer_weights(self) -> int:
        """Weights of one layer."""
        attention = 2 * self.hidden * self.hidden + 2 * self.hidden * self.kv
        return attention + 3 * self.hidden * self.mlp

    @property
    def lora(self) -> int:
        """Trained weights, on all projections."""
        attention = 2 * 2 * self.hidden + 2 * (self.hidden + self.kv)
        return self.layers * LORA_RANK * (attention + 3 * (self.hidden + self.mlp))


MODELS = (
    Model("SDAR-1.7B", 28, 2048, 6144, 1024, 151_936),
    Model("Dream-7B", 28, 3584, 18_944, 512, 152_064),
    Model("LLaDA-8B", 32, 4096, 12_288, 4096, 126_464),
)
GPUS = {"RTX 4090, 24 GB": 165e12, "A100 40 GB": 312e12, "H200 141 GB": 989e12}


def memory(
    model: Model, tokens: int, bits: int, checkpointing: bool, value_bytes: int = 2
) -> float:
    """Bytes at the peak, for ``tokens`` (rows x length) in one forward pass."""
    embeddings = 2 * model.vocabulary * model.hidden * value_bytes
    trunk = model.layers * model.layer_weights * bits / 8
    return embeddings + trunk + working_memory(model, tokens, checkpointing, value_bytes)


def working_memory(
    model: Model, tokens: int, checkpointing: bool, value_bytes: int, device: str = "cuda"
) -> float:
    """Bytes over the loaded model."""
    per_layer = ACTIVATIONS_HIDDEN * model.hidden + ACTIVATIONS_MLP * model.mlp
    kept = model.hidden * model.layers + per_layer if checkpointing else per_layer * model.layers
    tile = TILE_BYTES * TILE_ELEMENTS[device]
    return tokens * kept * value_bytes + model.lora * LORA_BYTES + tile


def minutes(model: Model, prompts: int, length: int, checkpointing: bool, peak: float) -> float:
    """Policy and reference forward, and one backward pass."""
    trunk = model.layers * model.layer_weights * length
    head = model.vocabulary * model.hidden * 128
    operations = 2 * prompts * (trunk * (4 if checkpointing else 3) + 4 * head)
    return operations / (peak * SHARE_OF_PEAK) / 60


def table() -> None:
    heads = ("model", "prompt + response", "rows a pass", "base", "checkpointing", "memory, GiB")
    print(f"| {' | '.join((*heads, *(f'minutes, {name}' for name in GPUS)))} |")
    print("|" + "---|" * (len(heads) + len(GPUS)))
    for model in MODELS:
        for length in (256, 1024):
            for rows, bits, checkpointing in (
                (8, 16, False), (8, 16, True), (2, 16, False), (2, 4, True),
            ):  # fmt: skip
                size = memory(model, rows * length, bits, checkpointing) / GIB
                times = [
                    f"{minutes(model, 3000, length, checkpointing, peak):.1f}"
                    for peak in GPUS.values()
                ]
                cells = (
                    model.name, str(length), str(rows), f"{bits} bits",
                    "yes" if checkpointing else "no", f"{size:.1f}", *times,
                )  # fmt: skip
                print(f"| {' | '.join(cells)} |")


def check() -> None:
    """A float32 step of benchmarks/alignment.py's small model, measured and computed."""
    from alignment import SMALL, ours, stepper, timed
    from midspan.alignment import MosaObjective

    model = Model("small", SMALL.layers, SMALL.hidden, SMALL.mlp, SMALL.hidden, SMALL.vocabulary)
    for rows in (2, 4, 8):
        shape = type(SMALL)(**{**vars(SMALL), "batch": rows})
        lm, loss = ours(shape, MosaObjective())
        measured = timed(stepper(lm, loss), 1)["mebibytes"]
        tokens = rows * (shape.prompt + shape.response)
        computed = working_memory(model, tokens, False, 4, "cpu") / 2**20
        print(f"{rows} rows: measured {measured:.0f} MiB, computed {computed:.0f}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--check", action="store_true")
    if parser.parse_args().check:
        check()
    else:
        table()
