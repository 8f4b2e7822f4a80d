"""Probes: questions put to a model whose answer is a measurement with an interval."""
