"""Objectives of alignment at one budget, each trained and attacked alike."""
