"""Models behind servers, as tasks ask them."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from midspan.engine.capabilities import Capabilities, Need, lacks, refusal
from midspan.engine.endpoint import Endpoint
from midspan.engine.roles import Role
from midspan.engine.server import EndpointConfig
from midspan.errors import MidspanError
from midspan.tasks import Task
from midspan.tasks.served import needs_of_task

if TYPE_CHECKING:
    from midspan.decoding.rule import Rule


@dataclass(frozen=True)
class ServedModel:
    """A model behind a server, before it is asked.

    Attributes:
        spec: As tables name it.
        config: The server.
        rules: What stands in front of it; they act on conversations alone.
    """

    spec: str
    config: EndpointConfig
    rules: "tuple[Rule, ...]" = ()

    @cached_property
    def endpoint(self) -> Endpoint:
        """Who is asked, once for all tasks."""
        return Endpoint(self.config)

    @property
    def role(self) -> Role:
        """Who answers, behind its rules."""
        if not self.rules:
            return self.endpoint
        from midspan.engine.guarded import GuardedRole

        return GuardedRole(self.endpoint, self.rules)

    def contact(self, needs: Collection[Need]) -> Capabilities:
        """See `Endpoint.contact`."""
        self.endpoint.contact(needs)
        return self.endpoint.capabilities

    def check(self, tasks: Sequence[Task]) -> None:
        """Refuse what the server cannot be asked.

        Raises:
            MidspanError: A task needs more than it gives, or a rule acts in the decoder.
        """
        for rule in self.rules:
            if rule.acts_in_decoder:
                raise MidspanError(
                    f"models: {self.spec!r}: {rule.rule} acts in the decoder, which a server does "
                    "not open; leave it out"
                )
        for task in tasks:
            if missing := lacks(self.config.record, needs_of_task(task)):
                raise refusal(task.name, missing, self.spec, self.config.record)
