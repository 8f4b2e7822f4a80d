"""Where each alignment holds a refusal; draws the figures of docs/methods.

Run: python examples/method_figures.py docs/methods/figures

For every start on the canvas: the log-probability of the likeliest refusal there, in nats, a mean
over restricted requests with its 95 % interval. Once nothing else stands on the canvas, once every
other run of sixteen words of the restricted answer does.
"""

import sys
from pathlib import Path

import torch

import midspan
from midspan.organism.training_data import alignment_data
from midspan.report.figures import Curve, lines
from midspan.scoring.window import start_scores
from midspan.statistics import Interval, mean_interval

LENGTH, RUN, REQUESTS, SEED = 128, 16, 24, 7
MODELS = {
    "Original": "organism",
    "Initial": "organism:initial-stable",
    "MOSA": "organism:mosa-stable",
    "PSA": "organism:psa",
}
DATA = alignment_data(seed=SEED, num_harmful=REQUESTS, num_benign=1)


@torch.inference_mode()
def refusals(lm: midspan.DiffusionLM, shown: set[int]) -> list[list[float]]:
    """For each request, the likeliest refusal's log-probability from every start."""
    rows = []
    safe = [lm.encode_phrase(phrase, 1) for phrase in DATA.phrases.safe]
    safe = [(*phrase, lm.tokens.eos) for phrase in safe]
    for example in DATA.harmful:
        prompt = lm.encode_chat(example.prompt)
        answer = lm.encode_text(example.answer)
        canvas = [answer[n] if n in shown else lm.tokens.mask for n in range(LENGTH)]
        ids_1T = torch.tensor([[*prompt, *canvas]])
        rows_L = torch.arange(len(prompt), len(prompt) + LENGTH)
        logp_1LV = lm.logits(ids_1T, rows=rows_L, canvas=len(prompt)).float().log_softmax(-1)
        scores = [start_scores(logp_1LV[:, :, list(phrase)], [phrase])[0] for phrase in safe]
        rows.append(torch.stack(scores).max(0).values.tolist())
    return rows


def curve(label: str, rows: list[list[float]], starts: list[int]) -> Curve:
    """One model's mean over the requests, with its interval."""
    means: list[Interval] = [mean_interval([row[start] for row in rows]) for start in starts]
    return Curve(
        label, starts, [m.mean for m in means], [m.low for m in means], [m.high for m in means]
    )


folder = Path(sys.argv[1])
titles = {
    "mosa": ("A refusal on an empty canvas", set(), range(0, 105, 4)),
    "psa": (
        "A refusal where parts of the answer stand",
        {n for n in range(LENGTH) if n // RUN % 2 == 0},
        range(RUN, LENGTH, 2 * RUN),
    ),
}
loaded = {label: midspan.load(name) for label, name in MODELS.items()}
for name, (title, shown, starts) in titles.items():
    curves = [curve(label, refusals(lm, shown), list(starts)) for label, lm in loaded.items()]
    picture = lines(title, curves, "first token of the refusal", "log-probability, nats")
    (folder / f"{name}.svg").write_text(picture, encoding="utf-8")
    print(title)
    for one in curves:
        points = (f"{x:.0f}: {y:.1f}" for x, y in zip(one.x, one.y, strict=True))
        print(f"  {one.label}: {', '.join(points)}")
