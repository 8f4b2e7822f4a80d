"""Send what schemathesis makes of the OpenAPI document to a server: no status of a fault, no hang.

Run: make check-serve [EXAMPLES=200]

It needs schemathesis (its pins are not ours), so that the make target gives it an environment of its
own, and this script, which runs in ours, the path of its command.
"""

import argparse
import os
import subprocess
import sys
from urllib.request import urlopen


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("schemathesis", help="Its command.")
    parser.add_argument("--examples", type=int, default=200, help="Requests a route, about.")
    options = parser.parse_args()
    command = [sys.executable, "-m", "midspan.cli", "serve", "organism", "--port", "0"]
    command += ["--timeout", "60"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, env=environment
    ) as server:
        assert server.stdout is not None
        try:
            url = server.stdout.readline().split(" on ")[1].strip().removesuffix("/v1")
            check = [options.schemathesis, "run", f"{url}/openapi.json", "--url", url]
            check += ["--checks", "not_a_server_error", "--request-timeout", "90"]
            check += ["--max-examples", str(options.examples), "--seed", "0", "--no-color"]
            status = subprocess.run(check, check=False).returncode
            with urlopen(f"{url}/metrics", timeout=10) as answer:
                counted = answer.read().decode()
            lines = [line for line in counted.splitlines() if "requests_total{" in line]
            print("\n".join(lines))
            return status or any('outcome="5' in line for line in lines)
        finally:
            server.terminate()
            server.wait(60)


if __name__ == "__main__":
    sys.exit(main())
