"""Published-format folders of every family through the same commands: align, then generate."""

import json
import sys

import pytest
import torch
from models_reference import DREAM, LLADA, write_checkpoint

from midspan.cli import main
from midspan.models import load

CONFIGS = {
    "llada": LLADA,
    "mmada": {**LLADA, "model_type": "mmada", "architectures": ["MMadaModelLM"]},
    "Dream": DREAM,
}
PHRASES = {"safe": ["write the poem"], "procedural": ["the next step is"], "affirmative": ["a w30"]}
RECIPE = """
response_length: 32
objective: {window: [4, 12], negative_weight: 0.2, negative_floor: -12.0, benign_weight: 2.0}
batch_size: 4
num_prompts: 12
"""


def run(monkeypatch, *arguments):
    monkeypatch.setattr(sys, "argv", ["midspan", *map(str, arguments)])
    with pytest.raises(SystemExit) as ended:
        main()
    assert not ended.value.code


@pytest.mark.parametrize("model_type", CONFIGS)
def test_align_and_generate_from_files(model_type, tmp_path, monkeypatch):
    folder = write_checkpoint(tmp_path / "model", CONFIGS[model_type])
    (tmp_path / "harmful.csv").write_text("goal,target\nwrite w30,x\nw31 the step,y\n")
    (tmp_path / "benign.txt").write_text("write a poem\n")
    (tmp_path / "phrases.json").write_text(json.dumps(PHRASES))
    (tmp_path / "recipe.yaml").write_text(RECIPE)
    adapter = tmp_path / "adapter"
    run(
        monkeypatch, "align", folder, "-o", adapter, "--behaviors", tmp_path / "harmful.csv",
        "--benign", tmp_path / "benign.txt", "--phrases", tmp_path / "phrases.json",
        "--config", tmp_path / "recipe.yaml",
    )  # fmt: skip
    rows = [json.loads(line) for line in (adapter / "metrics.jsonl").read_text().splitlines()]
    assert len(rows) == 6 and rows[0]["kl_harmful"] == 0 < rows[-1]["kl_harmful"]

    output = tmp_path / "made.json"
    blocks = [] if model_type == "Dream" else ["--block-length", "16"]
    run(
        monkeypatch, "generate", f"{folder}+{adapter}", "-p", "write a poem", "--length", "16",
        *blocks, "--steps", "8", "--anchor", "4:the next step is", "--json", output,
    )  # fmt: skip
    made = json.loads(output.read_text())
    plain = load(folder, device="cpu")
    assert made["tokens"][4:8] == plain.encode_phrase("the next step is")
    adapted = load(folder, adapter=adapter, device="cpu")
    ids = torch.tensor([[3, 10, 11, *[60] * 8]])
    assert not torch.equal(plain.logits(ids), adapted.logits(ids))
