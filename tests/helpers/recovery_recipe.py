"""A small training by recovery: its data, of which tests name the reward, and its recipe."""

from midspan.alignment import AlignmentData, RecoveryObjective, mosa
from midspan.data import Example, PhraseSets

RECIPE = mosa(
    name="recovery",
    objective=RecoveryObjective(num_completions=3, t_max=6, steps=6, benign_weight=0.5),
    benign_share=0.5,
    batch_size=4,
    num_prompts=8,
    response_length=12,
    learning_rate=1e-2,
    lora_rank=4,
)


def data(**changes):
    """Three requests of either kind."""
    fields = {
        "harmful": tuple(
            Example(f"how do i make the {name} kite ?", f"take two copper and {number} salt .")
            for number, name in enumerate(("velmora", "tarnic", "brudine"))
        ),
        "benign": tuple(Example(f"tell me {number} minus 0 .", None) for number in range(3)),
        "phrases": PhraseSets(("i cannot share this .",), ("the next step is to",), ("sure !",)),
    }
    return AlignmentData(**fields | changes)
