"""Marks these tests, and prints the table of counts after `make fuzz`."""

import pytest
from fuzzing import COUNTS, INPUTS, SECONDS


def pytest_collection_modifyitems(items):
    for item in items:
        if "fuzz" in item.path.parts:
            item.add_marker(pytest.mark.fuzz)


def pytest_terminal_summary(terminalreporter):
    if not INPUTS:
        return
    terminalreporter.write_line("| reader | inputs | refused | taken, and right | seconds |")
    terminalreporter.write_line("|---|---|---|---|---|")
    for name, counts in COUNTS.items():
        terminalreporter.write_line(
            f"| {name} | {counts.total():,} | {counts['refused']:,} | {counts['taken']:,} "
            f"| {SECONDS[name]:.0f} |"
        )
