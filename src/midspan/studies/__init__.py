"""Studies: which models, attacks, judges, probes and tasks make the tables of a report.

One folder a kind of study, each with those of the same files that it needs: ``config`` (what is
measured), ``presets`` (functions that return configs), ``prepare`` (names become objects, and
everything is checked), ``run`` (from a config to a run folder) and ``page`` (from a run folder to
a report). Beside them stands what several share: ``registry`` (all studies by name), ``given``
(objects that a Python caller has in hand), ``decodings`` (how they decode), ``hypotheses``,
``training`` (the data of an alignment), ``training_page`` and ``paper_values`` (what the paper
reports).
"""
