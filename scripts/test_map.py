"""Which test runs which line of the source, and how long each takes: a plugin of pytest.

Run: pytest -p test_map --test-map=map.json TESTS, with scripts/ and coverage on PYTHONPATH. What
the file holds of other tests stays. A line that runs while modules are imported belongs to no test.
"""

import json
import time
from collections.abc import Iterator
from pathlib import Path

import coverage
import pytest

ROOT = Path(__file__).parent.parent


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--test-map", type=Path, required=True)


def pytest_configure(config: pytest.Config) -> None:
    config.pluginmanager.register(_Recorder(config.getoption("--test-map")))


class _Recorder:
    def __init__(self, path: Path) -> None:
        self.path = path
        self.seconds: dict[str, float] = {}
        self.failed: set[str] = set()
        self.coverage = coverage.Coverage(data_file=None, source=[str(ROOT / "src")])
        self.coverage.start()

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Iterator[None]:
        self.coverage.switch_context(item.nodeid)
        started = time.process_time()
        result = yield
        self.seconds[item.nodeid] = round(time.process_time() - started, 2)
        self.coverage.switch_context("")
        return result

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if not report.passed:
            self.failed.add(report.nodeid)

    def pytest_sessionfinish(self) -> None:
        self.coverage.stop()
        known = {"seconds": {}, "lines": {}}
        if self.path.exists():
            known = json.loads(self.path.read_text(encoding="utf-8"))
        passed = {test: spent for test, spent in self.seconds.items() if test not in self.failed}
        known["seconds"].update(passed)
        data = self.coverage.get_data()
        for file in data.measured_files():
            lines = known["lines"].setdefault(str(Path(file).relative_to(ROOT)), {})
            for line, contexts in data.contexts_by_lineno(file).items():
                tests = passed.keys() & set(contexts)
                lines[str(line)] = sorted({*lines.get(str(line), []), *tests})
        self.path.write_text(json.dumps(known), encoding="utf-8")
