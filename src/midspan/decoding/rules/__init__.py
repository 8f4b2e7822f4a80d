"""Rules of decoding: one a file, each with the published settings as defaults.

Each module holds a `RULE`, a subclass of `midspan.decoding.rule.Rule` named as the file; a new file
is all that a new rule takes.
"""
