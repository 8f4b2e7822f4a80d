"""Which test runs which line of the source, and how long each takes: a plugin of pytest.

Run: pytest -p test_map --test-map=map.json TESTS, with scripts/ and coverage on PYTHONPATH. What
the file holds of other tests stays. A line that runs while modules are imported belongs to no test.
"""

import json
import time
from collections.abc import Iterator
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parent.parent
# By its name alone: a benchmark is called so, too, which checkers of types would take for it.
coverage: Any = import_module("coverage")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--test-map", type=Path, required=True)


def pytest_configure(config: pytest.Config) -> None:
    config.pluginmanager.register(_Recorder(config.getoption("--test-map")))


class _Recorder:
    def __init__(self, path: Path) -> None:
        self.path = path
        self.seconds: dict[str, float] = {}
        self.failed: set[str] = set()
        self.fixtures: dict[str, list[str]] = {}
        self.running = ""
        self.coverage = coverage.Coverage(data_file=None, source=[str(ROOT / "src")])
        self.coverage.start()

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Iterator[None]:
        self.fixtures[item.nodeid] = [*getattr(item, "fixturenames", ())]
        self.running = item.nodeid
        self.coverage.switch_context(self.running)
        started = time.process_time()
        result = yield
        self.seconds[item.nodeid] = round(time.process_time() - started, 2)
        self.coverage.switch_context("")
        return result

    @pytest.hookimpl(wrapper=True)
    def pytest_fixture_setup(self, fixturedef: pytest.FixtureDef[Any]) -> Iterator[None]:
        """What tests share is every test's that has it, not the first one's."""
        if fixturedef.scope == "function":
            return (yield)
        self.coverage.switch_context(f"{fixturedef.baseid} {fixturedef.argname}")
        try:
            return (yield)
        finally:
            self.coverage.switch_context(self.running)

    def _tests_of(self, context: str) -> set[str]:
        """The tests that passed and ran what stands under a context: a test, or a fixture."""
        folder, _, fixture = context.partition(" ")
        ran = {
            test
            for test, fixtures in self.fixtures.items()
            if test == context or (fixture in fixtures and test.startswith(folder))
        }
        return ran - self.failed

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if not report.passed:
            self.failed.add(report.nodeid)

    def pytest_sessionfinish(self) -> None:
        self.coverage.stop()
        known: dict[str, dict[str, Any]] = {"seconds": {}, "lines": {}}
        if self.path.exists():
            known = json.loads(self.path.read_text(encoding="utf-8"))
        passed = {test: spent for test, spent in self.seconds.items() if test not in self.failed}
        known["seconds"].update(passed)
        tests_of = cache(self._tests_of)
        data = self.coverage.get_data()
        for file in data.measured_files():
            lines = known["lines"].setdefault(str(Path(file).relative_to(ROOT)), {})
            for line, contexts in data.contexts_by_lineno(file).items():
                tests = set().union(*map(tests_of, filter(None, contexts)))
                lines[str(line)] = sorted({*lines.get(str(line), []), *tests})
        self.path.write_text(json.dumps(known), encoding="utf-8")
