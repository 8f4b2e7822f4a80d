"""The demo: train MOSA on the second organism, attack it and shipped adapters, one report."""
