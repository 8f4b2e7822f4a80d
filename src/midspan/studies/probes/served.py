"""Models behind servers, as probes ask them: what is refused before anything is loaded or asked."""

from collections.abc import Mapping, Sequence
from typing import Any

from midspan.engine.capabilities import Capabilities, Need, lacks, refusal
from midspan.engine.server import ServedDecoding
from midspan.probes.context import ProbeConfig
from midspan.served import is_served
from midspan.studies.probes.registry import PROBES, Probe
from midspan.studies.servers import record_of


def needs_of(probe: Probe, config: ProbeConfig, record: Capabilities) -> tuple[Need, ...]:
    """What a server of such capabilities is asked for: all, or else what a part of it takes."""
    if not probe.asks_in_part or not lacks(record, probe.asks):
        return probe.asks
    part: tuple[Need, ...] = probe.resolve("asks_in_part")(config)
    return probe.asks if lacks(record, part) else part


def check_model(
    what: str, asks: Sequence[Need], spec: str, servers: Mapping[str, Mapping[str, Any]]
) -> None:
    """Refuse a served model that does not give what is asked of it.

    Args:
        what: Who asks.
        asks: For what.
        spec: The model, which may be a local one.
        servers: Settings of servers, by spec.

    Raises:
        MidspanError: Naming who asks, what it needs and what the server gives.
    """
    record = record_of(spec, servers)
    if record and (missing := lacks(record, asks)):
        raise refusal(what, missing, spec, record)


def check_served(
    name: str,
    config: ProbeConfig,
    models: Sequence[str],
    servers: Mapping[str, Mapping[str, Any]],
) -> None:
    """Refuse served models of which a probe asks what their servers do not give.

    Args:
        name: The probe.
        config: Its own settings.
        models: Specs, local ones too.
        servers: Settings of servers, by spec.

    Raises:
        MidspanError: See `check_model`.
    """
    probe = PROBES[name]
    for spec in models:
        record = record_of(spec, servers)
        if record is not None:
            check_model(name, needs_of(probe, config, record), spec, servers)


def sent_to_servers(decoding: Mapping[str, Any], models: Sequence[str]) -> ServedDecoding:
    """What servers are sent of a probe's settings of decoding; the rest is of the local models.

    Raises:
        MidspanError: A value is none, or a setting is of no model.
    """
    if all(map(is_served, models)):
        return ServedDecoding.of(decoding)
    return ServedDecoding.of(
        {name: decoding[name] for name in decoding if name in ServedDecoding.model_fields}
    )
