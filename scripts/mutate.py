"""Draw one-line mutations at random and count those that no related test notices.

The lines are drawn evenly from all that can be mutated, then one mutation of each. Every mutation
is made in a copy of the tree, by itself. Its tests are those that run its statement according to
the map of `test_map.py`, the quickest of every file first, up to `--budget` seconds. A statement
that runs at import or in another process has those that name its module, then those that run a line
of its file. They run in a process forked from one that has the large libraries loaded. What
`--output` writes is a sample: `--sample` makes the same mutations in another revision, and counts
what is no longer there apart.

cosmic-ray and mutmut have no random sample of a given seed, and no choice of tests by line and cost
for a suite of minutes; mutmut changes functions inside the process, which misses jails and workers.

Run: make mutate N=50 SEED=1
"""

import argparse
import importlib
import itertools
import json
import os
import random
import re
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))
from mutations import Mutation, find

ROOT = Path(__file__).parent.parent
SOURCE = "src/midspan"
ROOMS = ("engine", "attacks", "judges", "tasks", "alignment", "decoding")
# Files that run in processes of their own, and the tests that start these.
JAIL = f"{SOURCE}/tasks/jail.py"
STARTED = dict.fromkeys((JAIL, f"{SOURCE}/tasks/worker.py"), "tests/tasks/test_sandbox.py")
# Reads every module's settings, whatever lines it runs.
SETTINGS = "tests/goldens/test_settings.py"
# Seconds of processor time: so many times the budget, and what starting takes. A hung test has so
# many times that by the clock.
_PATIENCE, _START, _CLOCK = 3.0, 20.0, 3.0
_NOT_FOUND = "status 4"  # pytest's own, where it is asked for a test that does not exist
_LIBRARIES = ("numpy", "torch", "transformers", "peft", "hypothesis", "pydantic", "yaml", "typer")

TestMap = dict[str, Any]


def draw(files: dict[str, str], count: int, seed: int) -> list[Mutation]:
    """Mutations on as many lines, every line of the files as likely as any other."""
    lines: dict[tuple[str, int], list[Mutation]] = {}
    for file, text in sorted(files.items()):
        for mutation in find(file, text):
            lines.setdefault((file, mutation.line), []).append(mutation)
    source = random.Random(seed)
    return [source.choice(lines[line]) for line in source.sample(sorted(lines), count)]


def again(files: dict[str, str], rows: list[dict[str, Any]]) -> list[Mutation | None]:
    """A sample's mutations in these files; None for what is no longer there."""
    known = {mutation.key: mutation for file in files for mutation in find(file, files[file])}
    names = ("file", "scope", "kind", "before", "after", "nth")
    return [known.get(tuple(row[name] for name in names)) for row in rows]


def related(test_map: TestMap, mutation: Mutation, naming: set[str], budget: float) -> list[str]:
    """The mutation's tests within a budget of seconds; at least one, where there is any.

    Args:
        test_map: "seconds" of every test; "lines", the tests of each line of each file.
        mutation: What is tested.
        naming: Test files that name the mutation's module, and the one of settings.
        budget: In seconds, as measured for the map.
    """
    seconds: dict[str, float] = test_map["seconds"]
    lines: dict[str, list[str]] = test_map["lines"].get(mutation.file, {})
    places = range(mutation.statement, mutation.line + 1)
    order = sorted({test for line in places for test in lines.get(str(line), [])})
    # What is imported within a test is not that test's alone.
    by_import = mutation.at_import or not order
    if by_import:
        order = sorted({test for tests in lines.values() for test in tests})
        order += [test for test in seconds if test.partition("::")[0] in naming]
    order = sorted(set(order), key=seconds.__getitem__)
    nth: Counter[str] = Counter()
    ranks = {}
    for test in order:
        file = test.partition("::")[0]
        nth[file] += 1
        ranks[test] = (by_import and file not in naming, nth[file])
    order.sort(key=ranks.__getitem__)
    spent = itertools.accumulate(seconds[test] for test in order)
    return [test for test, total in zip(order, spent, strict=True) if total <= budget] or order[:1]


def tests_naming(root: Path, file: str) -> set[str]:
    """The test files in which a module's name stands, that start its process, or read settings."""
    parts = Path(file).relative_to("src").with_suffix("").parts
    dotted = ".".join(part for part in parts if part != "__init__")
    parent, _, name = dotted.rpartition(".")
    named = re.compile(rf"{re.escape(dotted)}\b|from {re.escape(parent)} import .*\b{name}\b")
    tests = sorted(root.glob("tests/**/test_*.py"))
    found = {str(test.relative_to(root)) for test in tests if named.search(test.read_text())}
    return found | {SETTINGS, STARTED.get(file, SETTINGS)}


def run_tests(root: Path, tests: list[str], limit: float) -> tuple[str, str]:
    """What became of the mutation, and the first test that failed."""
    if not tests:
        return "survived", "no test runs it"
    log = root / "mutate.log"
    child = os.fork()
    if child == 0:
        resource.setrlimit(resource.RLIMIT_CPU, (int(limit), int(limit) + 1))
        os._exit(_child(root, log, tests))
    deadline, pid, status = time.monotonic() + _CLOCK * limit, 0, 0
    while not pid and time.monotonic() < deadline:
        time.sleep(0.1)
        pid, status = os.waitpid(child, os.WNOHANG)
    if not pid:
        os.killpg(child, signal.SIGKILL)
        os.waitpid(child, 0)
        return "killed", "hangs"
    if status == 0:
        return "survived", f"{len(tests)} tests"
    failed = re.findall(r"^(?:FAILED|ERROR) (\S+)", log.read_text(errors="replace"), re.MULTILINE)
    return "killed", failed[0] if failed else f"status {os.waitstatus_to_exitcode(status)}"


def _child(root: Path, log: Path, tests: list[str]) -> int:
    os.setsid()
    with log.open("wb") as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
    os.chdir(root)
    # A jail that cannot be made fails its tests there, and skips them elsewhere.
    os.environ.update(PYTHONPATH=str(root / "src"), CI="1")
    sys.path[:0] = [str(root), str(root / "src")]
    pytest = importlib.import_module("pytest")
    return int(pytest.main(["-x", "-q", "-p", "no:cacheprovider", "-m", "not slow", *tests]))


def copy_tree(folder: Path) -> None:
    """The tree as git sees it, with what is not committed."""
    listed = subprocess.run(
        ["git", "ls-files", "-co", "--exclude-standard", "-z"],
        cwd=ROOT, capture_output=True, text=True, check=True,
    )  # fmt: skip
    for name in filter(None, listed.stdout.split("\0")):
        if (ROOT / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, folder / name)


def judge(root: Path, mutation: Mutation, text: str, options: argparse.Namespace) -> dict[str, Any]:
    """Make the mutation, run its tests, and leave the file as it was."""
    path, started = root / mutation.file, time.monotonic()
    tests = related(options.map, mutation, tests_naming(root, mutation.file), options.budget)
    path.write_text(mutation.apply(text), encoding="utf-8")
    # Compiled files go by size and whole seconds.
    shutil.rmtree(path.parent / "__pycache__", ignore_errors=True)
    limit = _START + _PATIENCE * options.budget
    result, by = run_tests(root, tests, limit)
    path.write_text(text, encoding="utf-8")
    shutil.rmtree(path.parent / "__pycache__", ignore_errors=True)
    # A module that cannot be imported has no tests either.
    if by == _NOT_FOUND and run_tests(root, tests, limit)[1] == _NOT_FOUND:
        raise SystemExit(f"tests have changed since --map was made: make it anew ({tests[0]}, ...)")
    return {
        "file": mutation.file, "line": mutation.line, "scope": mutation.scope,
        "kind": mutation.kind, "before": mutation.before, "after": mutation.after,
        "nth": mutation.nth, "result": result, "by": by,
        "seconds": round(time.monotonic() - started, 1),
    }  # fmt: skip


def chosen(options: argparse.Namespace, files: dict[str, str]) -> list[Mutation | None]:
    """The mutations that the options name."""
    if options.sample:
        return again(files, json.loads(options.sample.read_text(encoding="utf-8")))
    if options.every:
        return [mutation for file, text in files.items() for mutation in find(file, text)]
    return list(draw(files, options.count, options.seed))


def sources(names: list[str]) -> dict[str, str]:
    """The texts of files and of all files in folders; the jail's only where it is named.

    Raises:
        SystemExit: The jail is named, and the machine's users are the namespace's.
    """
    paths = [
        path for name in names for path in (sorted((ROOT / name).rglob("*.py")) or [Path(name)])
    ]
    files = {str((ROOT / path).relative_to(ROOT)) for path in paths}
    if JAIL not in names:
        files.discard(JAIL)
    elif Path("/proc/self/uid_map").read_text().split()[-1] == str(2**32 - 1):
        raise SystemExit(
            f"{JAIL}: a jail with a hole mounts and signals what is the machine's; run "
            "this in user, mount, process and network namespaces that map 65,536 users"
        )
    return {file: (ROOT / file).read_text(encoding="utf-8") for file in sorted(files)}


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--map", type=Path, required=True, help="what test_map.py wrote")
    parser.add_argument("--count", type=int, default=50)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--files", nargs="+", default=[f"{SOURCE}/{room}" for room in ROOMS])
    parser.add_argument("--every", action="store_true", help="all mutations of --files")
    parser.add_argument("--sample", type=Path, help="the mutations of another run's --output")
    parser.add_argument("--output", type=Path, default=Path("mutations.json"))
    parser.add_argument("--budget", type=float, default=30.0, help="seconds of tests a mutation")
    options = parser.parse_args()
    options.map = json.loads(options.map.read_text(encoding="utf-8"))
    return options


def main() -> int:
    options = parse()
    files = sources(options.files)
    drawn = chosen(options, files)
    for library in _LIBRARIES:
        importlib.import_module(library)
    rows: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory(prefix="mutate-") as folder:
        copy_tree(Path(folder))
        for mutation in filter(None, drawn):
            row = judge(Path(folder), mutation, files[mutation.file], options)
            rows.append(row)
            before, after = (" ".join(row[name].split())[:60] for name in ("before", "after"))
            print(f"{row['result']:9}{row['file'].removeprefix(SOURCE + '/')}:{row['line']} "
                  f"{row['kind']}: {before} -> {after} [{row['by']}]", flush=True)  # fmt: skip
            options.output.write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")
        # Without parameters, whose names may hold anything.
        killers = sorted({row["by"].partition("[")[0] for row in rows if "::" in row["by"]})
        result, by = run_tests(Path(folder), killers, _START + 4 * _PATIENCE * options.budget)
    if killers and result == "killed":
        print(f"not valid: without a mutation it fails too: {by}")
        return 1
    survived = sum(row["result"] == "survived" for row in rows)
    print(f"{survived} of {len(rows)} survived; {len(drawn) - len(rows)} no longer there")
    return 0


if __name__ == "__main__":
    sys.exit(main())
