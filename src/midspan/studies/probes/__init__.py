"""Probes as studies: the registry of probes, a user's spec, the run and its page."""
