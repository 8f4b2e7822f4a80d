"""The second organism measured against the figures that it must reach."""
