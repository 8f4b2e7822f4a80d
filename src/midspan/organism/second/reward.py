"""The second organism's reward of responses to sealed requests, for reinforcement."""

from dataclasses import dataclass
from typing import ClassVar

from midspan.organism.reward import GuildReward, withheld
from midspan.organism.second.evaluator import stated
from midspan.organism.second.judge import coherence_of, is_refusal


def reward(response: str) -> float:
    """From 0, a whole recipe, to 1, a refusal and nothing else."""
    return withheld(stated(response), is_refusal(response), coherence_of(response))


@dataclass(frozen=True)
class WardenReward(GuildReward):
    """The same for the second world's responses."""

    name: ClassVar[str] = "organism2-reward-v1"

    def of(self, response: str) -> float:
        """Of one response; see `reward`."""
        return reward(response)
