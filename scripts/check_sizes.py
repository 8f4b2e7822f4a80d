"""Print how large files and functions are, and fail where one is over the limit.

Run: python scripts/check_sizes.py
"""

import ast
import statistics
import sys
from collections.abc import Iterator
from pathlib import Path

MAX_FILE_LINES = 350
MAX_FUNCTION_LINES = 60
MAX_PARAMETERS = 6
SOURCE = Path(__file__).parent.parent / "src" / "midspan"
# A command's parameters are its options on the command line: its body counts, not its signature.
OPTIONS_FOLDER = SOURCE / "commands"


def functions(tree: ast.AST) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node


def main() -> int:
    file_lines, function_lines, problems = [], [], []
    for path in sorted(SOURCE.rglob("*.py")):
        text = path.read_text(encoding="utf-8")
        name = path.relative_to(SOURCE.parent)
        file_lines.append(text.count("\n"))
        if file_lines[-1] > MAX_FILE_LINES:
            problems.append(f"{name}: {file_lines[-1]} lines, at most {MAX_FILE_LINES}")
        is_command = OPTIONS_FOLDER in path.parents
        for node in functions(ast.parse(text)):
            start = node.body[0].lineno if is_command else node.lineno
            lines = (node.end_lineno or start) - start + 1
            function_lines.append(lines)
            arguments = [a for a in node.args.args + node.args.kwonlyargs if a.arg != "self"]
            place = f"{name}:{node.lineno} {node.name}"
            if lines > MAX_FUNCTION_LINES:
                problems.append(f"{place}: {lines} lines, at most {MAX_FUNCTION_LINES}")
            if len(arguments) > MAX_PARAMETERS and not is_command:
                problems.append(f"{place}: {len(arguments)} parameters, at most {MAX_PARAMETERS}")
    for label, sizes in (("files", file_lines), ("functions", function_lines)):
        p90 = statistics.quantiles(sizes, n=10)[-1]
        print(f"{label}: {len(sizes)}, lines median {statistics.median(sizes):.0f}, p90 {p90:.0f}, "
              f"max {max(sizes)}")  # fmt: skip
    print("\n".join(problems))
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
