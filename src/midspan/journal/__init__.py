"""Replies computed once, whoever asks and however often the run is started again.

- `journal`: an append-only file that is resume, retry and cache in one.
- `ranks`: which process this is, and whose journal is whose.
- `generation`: journalled generation.
- `suffix_search`: journalled greedy coordinate gradient.
"""
