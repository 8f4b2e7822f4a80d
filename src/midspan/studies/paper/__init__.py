"""The whole paper as one study: its models, probes, attacks and tasks, and one report."""
