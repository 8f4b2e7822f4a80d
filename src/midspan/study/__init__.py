"""Studies: which models, attacks, judges, probes and tasks make the tables of a report."""
