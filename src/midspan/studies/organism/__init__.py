"""Studies that only the organism can do: every request has an exact judge.

``cases`` are the requests, ``stress`` those with parts of an answer given, ``measure`` puts them
to a model, ``results`` makes rates of the records; ``demo``, ``objectives`` and ``verify`` are
studies.
"""
