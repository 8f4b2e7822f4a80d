"""What the paper reports (arXiv 2508.12398), to stand beside what is measured.

Percentages. Tables 1, 2 and 4: its own judge, then StrongREJECT. It states neither the number
of prompts nor seeds, helper models, budgets or decoding for any of them.
"""

from collections.abc import Mapping

Pair = tuple[float, float]
MODELS = ("Original", "Initial", "MOSA")
ATTACKS = ("avatar", "tap", "speakeasy", "aos", "pal", "ept", "dia", "advprefix")
_ROWS: Mapping[str, Mapping[str, tuple[Pair, ...]]] = {
    "AdvBench": {
        "Original": ((74.5, 65.6), (79.1, 77.2), (69.8, 57.4), (65.2, 62.9),
                     (72.8, 67.1), (78.4, 72.3), (66.7, 64.2), (79.5, 70.1)),
        "Initial": ((23.5, 22.5), (29.6, 28.1), (22.4, 23.3), (32.4, 25.9),
                    (36.4, 24.5), (28.5, 22.0), (34.3, 28.6), (29.8, 27.2)),
        "MOSA": ((14.3, 12.8), (4.5, 3.7), (8.1, 12.9), (6.5, 5.4),
                 (6.2, 4.5), (3.8, 7.1), (4.2, 7.7), (6.8, 3.5)),
    },
    "HarmBench": {
        "Original": ((76.8, 73.7), (79.2, 76.7), (70.5, 66.3), (64.1, 61.3),
                     (73.8, 70.8), (77.9, 75.8), (68.6, 65.1), (79.9, 78.4)),
        "Initial": ((25.6, 25.1), (29.8, 27.9), (24.5, 22.4), (31.4, 28.3),
                    (29.2, 27.5), (32.7, 31.8), (36.4, 32.3), (29.9, 28.7)),
        "MOSA": ((14.7, 8.3), (7.5, 6.2), (14.5, 13.2), (6.1, 5.2),
                 (5.4, 6.4), (3.6, 2.2), (8.9, 7.2), (4.9, 4.1)),
    },
}  # fmt: skip
# Table 4 measures MOSA alone and does not say on which prompts.
ADAPTIVE: Mapping[str, Pair] = {"tap": (5.1, 4.4), "ept": (3.8, 4.2), "advprefix": (4.5, 5.1)}

# Table 3, by `MODELS`; decoding settings are not stated.
UTILITY: Mapping[str, tuple[float, float, float]] = {
    "gsm8k": (69.8, 67.4, 68.3),
    "mmlu": (66.4, 68.2, 65.9),
    "humaneval": (32.8, 29.6, 30.4),
}
# Figure 4 and its text: ASR by model, kind of phrase and start, of 100 requests.
SEARCH: Mapping[tuple[str, str, int], str] = {
    ("Original", "affirmative", 0): "33",
    ("Original", "procedural", 30): "2",
    ("MOSA", "procedural", 30): "below 4",
}


def reported(attack: str, model: str, adaptive: bool = False) -> dict[str, Pair]:
    """The paper's cells for an attack on one of `MODELS`, by data set; empty where it has none."""
    if attack not in ATTACKS or model not in MODELS:
        return {}
    if adaptive:
        return {"unnamed set": ADAPTIVE[attack]} if model == "MOSA" and attack in ADAPTIVE else {}
    column = ATTACKS.index(attack)
    return {data: rows[model][column] for data, rows in _ROWS.items()}
