"""The organism's Original, measured against the figures that it must reach."""
