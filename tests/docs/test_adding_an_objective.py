"""docs/adding-an-objective.md: its objective trains, and its loss is what it says."""

import re
from pathlib import Path

import pytest
import torch
from pydantic import Field, create_model

from midspan.alignment import AlignmentConfig, MosaObjective, align
from midspan.alignment.samples import draw_samples
from midspan.alignment.scores import ResponseStates
from midspan.organism.training_data import alignment_data

GUIDE = Path(__file__).parents[2] / "docs" / "adding-an-objective.md"
# The union of objectives, of which step "Make it known" speaks, does not know this one.
pytestmark = pytest.mark.filterwarnings("ignore:Pydantic serializer warnings")


@pytest.fixture
def config():
    (code,) = re.findall(r"```python\n(.*?)```", GUIDE.read_text(encoding="utf-8"), re.DOTALL)
    names = {}
    exec(code, names)
    objective = names["SilenceObjective"](benign_weight=0.5)
    fields = {"num_prompts": 16, "batch_size": 8, "benign_share": 0.5, "learning_rate": 1e-2}
    return AlignmentConfig().model_copy(update=fields | {"objective": objective})


def test_the_loss_is_that_of_the_first_token(organism_lm, config):
    samples = draw_samples(organism_lm, alignment_data(num_harmful=8, num_benign=8), config)[:8]
    shape = (len(samples), config.response_length, 16)
    head_VD = torch.randn(organism_lm.base.lm_head.weight.shape[0], 16)
    policy_BLD, reference_BLD = torch.randn(shape), torch.randn(shape)
    masked_BL = torch.ones(shape[:2], dtype=torch.bool)
    losses = config.objective.losses(
        ResponseStates(policy_BLD, reference_BLD, head_VD, masked_BL), samples
    )
    logp_SLV = (policy_BLD @ head_VD.T).log_softmax(-1)
    other_SLV = (reference_BLD @ head_VD.T).log_softmax(-1)
    kl_S = (logp_SLV.exp() * (logp_SLV - other_SLV)).sum((1, 2))
    for row, sample in enumerate(samples):
        nats = -logp_SLV[row, 0, organism_lm.tokens.eos]
        wanted = nats if sample.harmful else 0.5 * kl_S[row]
        assert losses.values_S[row].item() == pytest.approx(wanted.item(), rel=1e-4)


def test_training_lowers_it(organism_lm, config, tmp_path):
    data = alignment_data(num_harmful=8, num_benign=8)
    rows = align(organism_lm, data, config, tmp_path).metrics()
    assert rows[-1]["nats_harmful"] < rows[0]["nats_harmful"]


def test_in_the_union_its_kind_is_read_from_a_file(config):
    """Step 1 of "Make it known"."""
    union = type(config.objective) | MosaObjective
    field = (union, Field(discriminator="kind"))
    known = create_model("Known", __base__=AlignmentConfig, objective=field)
    fields = {"kind": "silence", "benign_weight": 0.25}
    read = known.model_validate({"benign_share": 0.5, "objective": fields})
    assert type(read.objective) is type(config.objective) and read.objective.benign_weight == 0.25
