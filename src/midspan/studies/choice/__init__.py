"""The fastest decoding at equal verdicts, chosen for a model and kept for its studies."""
