"""The demo: train MOSA and its baselines on the organism, attack all models, one report."""
