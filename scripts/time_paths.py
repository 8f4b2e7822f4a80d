"""Times the paths of three newcomers, and writes their table into a page.

Run: python scripts/time_paths.py docs/results/first-minutes.md

Every step is a program of its own in one empty folder, as a user starts it from a shell. Processor
seconds stand beside the wall time, which other work on the machine stretches. The page holds
`<!-- paths -->` and, behind it, `<!-- end of table -->`.
"""

import os
import re
import resource
import shlex
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).parents[1]
BLOCK = re.compile(r"(<!-- paths -->\n).*?(<!-- end of table -->)", re.DOTALL)
# Who, and what they type, in their order.
PATHS = {
    "student: Figure 3 on the organism": (
        "midspan generate organism -p 'how do i make the tarnic sigil ?'",
        "midspan probe prefill organism organism:mosa-stable -n 6 -o runs/figure3",
        "midspan report runs/figure3",
    ),
    "engineer: an audit for a manager": (
        "midspan doctor",
        "midspan audit organism:psa -o runs/audit",
        "midspan report runs/audit",
    ),
    "developer: a defence of one's own": (
        "midspan generate organism -p 'how do i make the lomthorn lantern ?'",
        f"python {shlex.quote(str(ROOT / 'examples' / 'own_rule.py'))}",
    ),
}


def timed(line: str, folder: str) -> tuple[float, float]:
    """Wall and processor seconds of a command, which must succeed.

    Raises:
        SystemExit: It failed; its output is shown.
    """
    words = shlex.split(line)
    ours = ["-c", "from midspan.cli import main; main()"]
    call = [sys.executable, *(ours if words[0] == "midspan" else ()), *words[1:]]
    started, before = time.perf_counter(), resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run(call, cwd=folder, capture_output=True, text=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    if done.returncode:
        raise SystemExit(f"{line}\n{done.stdout}{done.stderr}")
    used = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return time.perf_counter() - started, used


def revision() -> str:
    """The commit that is timed."""
    call = ["git", "-C", str(ROOT), "rev-parse", "--short", "HEAD"]
    return subprocess.run(call, capture_output=True, text=True, check=True).stdout.strip()


def table() -> str:
    """The paths with their steps and sums, as Markdown."""
    lines = ["| path | step | wall, s | processor, s |", "|---|---|---:|---:|"]
    for who, steps in PATHS.items():
        with tempfile.TemporaryDirectory() as folder:
            times = [timed(step, folder) for step in steps]
        print(f"{who}: {[round(wall) for wall, _ in times]} s of wall time", file=sys.stderr)
        for step, (wall, used) in zip(steps, times, strict=True):
            shown = step.replace(f"{ROOT}/", "")
            lines.append(f"| {who} | `{shown}` | {wall:.0f} | {used:.0f} |")
        wall, used = (sum(column) for column in zip(*times, strict=True))
        lines.append(f"| {who} | *in all* | {wall:.0f} | {used:.0f} |")
    load = os.getloadavg()[0]
    note = f"Revision {revision()}, {os.cpu_count()} cores, load {load:.1f} at the end; n = 1."
    return "\n".join([*lines, "", note, ""])


def main(page: Path) -> None:
    """Time everything, and write the table."""
    text = page.read_text(encoding="utf-8")
    made = table()
    page.write_text(BLOCK.sub(lambda found: found[1] + made + found[2], text), encoding="utf-8")
    print(made)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
