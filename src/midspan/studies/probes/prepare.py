"""From a probe's names to its settings and requests, once."""

import hashlib
import json
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from midspan.engine.calls import Chat
from midspan.engine.capabilities import Capabilities, Need
from midspan.engine.endpoint import Endpoint
from midspan.engine.server import EndpointConfig
from midspan.journal.journal import Journal
from midspan.organism.worlds import is_organism
from midspan.probes.context import ProbeConfig, ProbeContext, ProbeCost, ProbeData
from midspan.probes.local import LocalContext
from midspan.probes.served import ServedContext
from midspan.served import is_served
from midspan.studies.decodings import probe_decodings
from midspan.studies.given import NOTHING, Given
from midspan.studies.probes.config import ProbeSpec
from midspan.studies.probes.registry import PROBES
from midspan.studies.probes.served import needs_of, sent_to_servers
from midspan.studies.servers import Contact, contact_all


@dataclass(frozen=True)
class PreparedProbe:
    """A probe that can start: its settings are checked, and its requests are read.

    Attributes:
        spec: As users wrote it.
        config: The probe's own settings.
        data: What is asked, and by whom it is judged.
        given: What the caller had in hand.
        servers: Who answers for the models that are not decoded here, by spec.
        asked: How they are asked.
    """

    spec: ProbeSpec
    config: ProbeConfig
    data: ProbeData
    given: Given = NOTHING
    servers: Mapping[str, Endpoint] = field(default_factory=dict)
    asked: Chat = Chat("target", ())

    @property
    def identity(self) -> dict[str, Any]:
        """What makes another run another: everything that decides the records."""
        requests = [(request.kind, request.prompt) for request in self.data.requests]
        text = json.dumps([requests, self.data.phrases], sort_keys=True)
        return {
            "probe": self.spec.probe,
            **self.config.model_dump(mode="json"),
            "models": list(self.spec.models),
            "decoding": self.spec.decoding,
            "judged_by": self.data.judged_by,
            "requests": len(requests),
            "data": hashlib.sha256(text.encode()).hexdigest()[:16],
        }

    def needs(self, spec: str) -> tuple[Need, ...]:
        """What is asked of a served model."""
        return needs_of(PROBES[self.spec.probe], self.config, self.servers[spec].config.record)

    @property
    def in_part(self) -> list[str]:
        """Served models of which a part is measured alone."""
        whole = PROBES[self.spec.probe].asks
        return [spec for spec in self.servers if self.needs(spec) != whole]

    def contact(self, folder: str | Path) -> None:
        """Ask the servers for a word, the judge's too, where the folder holds no replies yet.

        Raises:
            MidspanError: See `midspan.studies.servers.contact_all`.
        """
        if self.spec.judge is not None and self.spec.judge in self.given.contacts:
            self.given.contacts[self.spec.judge]()
        contacts = {spec: _contact(server) for spec, server in self.servers.items()}
        contact_all(contacts, folder, {spec: self.needs(spec) for spec in self.servers})

    def context(
        self,
        model: str,
        journal: Journal,
        stage: Callable[[str, int], AbstractContextManager[Any]],
        fail_fast: bool,
    ) -> ProbeContext:
        """A model, ready to be measured: loaded, or with its server found.

        Raises:
            MidspanError: It cannot be loaded, or its server not be asked.
        """
        spec = self.spec
        if model in self.servers:
            server = self.servers[model]
            context = ServedContext(
                server, self.asked, model=model, journal=journal, stage=stage, fail_fast=fail_fast
            )
            context.meet(self.needs(model))
            return context
        lm = self.given.load(model)
        decodings = probe_decodings(lm, spec.decoding, is_organism(model))
        return LocalContext(
            lm, decodings, spec.rows, model=model, journal=journal, stage=stage, fail_fast=fail_fast
        )

    def cost(self, lengths: Sequence[int]) -> ProbeCost:
        """What the probe costs on one model.

        Args:
            lengths: Tokens of the canvas of each decoding.
        """
        return self._cost_of(self.data, lengths)

    def judged(self, lengths: Sequence[int]) -> int:
        """Responses of one model that the judge of harm is asked about, at most.

        Args:
            lengths: Tokens of the canvas of each decoding.
        """
        if self.data.harm_judge is None:
            return 0
        harmful = replace(self.data, requests=self.data.harmful)
        return self._cost_of(harmful, lengths).generations

    def _cost_of(self, data: ProbeData, lengths: Sequence[int]) -> ProbeCost:
        cost: ProbeCost = PROBES[self.spec.probe].resolve("cost")(data, self.config, lengths)
        return cost


def prepare(spec: ProbeSpec, given: Given = NOTHING) -> PreparedProbe:
    """Check the settings and read the requests.

    Args:
        spec: The probe.
        given: Models that the caller has loaded, and the judge that the spec names.

    Raises:
        MidspanError: There is no such setting, a file cannot be read, or requests or the judge are
            missing, or what is asked cannot be measured.
    """
    config, data = spec.config(), spec.data()
    if PROBES[spec.probe].check:
        PROBES[spec.probe].resolve("check")(data, config, spec.decoding.get("length"))
    sent = sent_to_servers(spec.decoding, spec.models)
    servers = {
        model: Endpoint(EndpointConfig.from_spec(model, **spec.servers.get(model, {})))
        for model in spec.models
        if is_served(model)
    }
    if spec.judge is not None:
        judged_by = f"{spec.judge}; benign requests by keywords of refusal"
        data = replace(data, harm_judge=given.judge(spec.judge), judged_by=judged_by)
    asked = Chat(
        "target", (), temperature=sent.temperature, top_p=sent.top_p, max_tokens=sent.length
    )
    return PreparedProbe(spec, config, data, given, servers, asked)


def _contact(server: Endpoint) -> Contact:
    def contact(needs: Collection[Need]) -> Capabilities:
        server.contact(needs)
        return server.capabilities

    return contact
