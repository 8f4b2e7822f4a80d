"""Under which ways of decoding plain requests are answered: the parts of `decode_sweep`."""

from collections.abc import Mapping, Sequence
from typing import Any

from midspan.bounds import RateBounds
from midspan.files import Record
from midspan.studies.audit.schema import DecodingResult, Rate


def decoding_results(records: Sequence[Record], judge: str) -> tuple[DecodingResult, ...]:
    """One result a way, in the order of the sweep; a response that is missing has no outcome."""
    if not records:
        return ()
    results = []
    for way in records[0]["config"]["ways"]:
        rate = Rate.of(RateBounds.of(_outcome(record, way, judge) for record in records))
        assert rate is not None, "there are records"
        results.append(DecodingResult(settings=_words(way), won=rate))
    return tuple(results)


def _outcome(record: Record, way: Mapping[str, Any], judge: str) -> bool | None:
    from midspan.decoding.rule import as_rule
    from midspan.frozen import plain

    rules = plain(map(as_rule, way.get("rules", ())))
    fields = {name: value for name, value in way.items() if name != "rules"}
    for attempt in record["attempts"]:
        if (attempt.get("decoding", {}), attempt.get("rules", [])) == (fields, rules):
            verdict = attempt["verdicts"][judge]
            return None if "failure" in verdict else bool(verdict["success"])
    return None


def _words(way: Mapping[str, Any]) -> str:
    """A way in words; a fraction of length or steps is a multiple of the audit's own."""
    parts = []
    for name, value in way.items():
        if name == "rules":
            parts += [_rule_words(rule) for rule in value]
        elif name in ("length", "steps") and isinstance(value, float):
            parts.append(f"{name} x {value:g}")
        elif name == "block_length" and value is None:
            parts.append("one block")
        else:
            parts.append(f"{name.replace('_', ' ')} {value}")
    return ", ".join(parts) or "as the audit decodes"


def _rule_words(rule: Mapping[str, Any] | str) -> str:
    if isinstance(rule, str):
        return rule
    fields = (f"{name} {value}" for name, value in rule.items() if name != "rule")
    return f"rule {rule['rule']} ({', '.join(fields)})"
