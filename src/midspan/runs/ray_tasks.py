"""Parts of a run as tasks of Ray (Moritz et al. 2018): on one machine, or on a cluster of them.

Ray places the parts and runs one again whose worker died; what is known of a run lies in its
journals alone, in a folder that all machines share, so that a part that starts again pays for
nothing twice.
"""

import os
import sys
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

from midspan.errors import MidspanError
from midspan.journal.journal import patience
from midspan.runs.processes import Named, Part
from midspan.runs.progress import quiet
from midspan.version import __version__

# A part whose worker died, with its machine or for want of memory, is started so often again.
RETRIES = 3
# A shared disk may hold the lock of a machine that died for so long.
LOCK_SECONDS = 300.0


class Share(NamedTuple):
    """What one task takes of a machine.

    Attributes:
        cpus: Cores, and threads.
        gpus: GPUs.
    """

    cpus: int
    gpus: int


class _Ended(NamedTuple):
    """What a task leaves: what its part returned, or the one line that says why it did not."""

    value: Any
    error: str


class _Start(NamedTuple):
    """How a task begins, wherever that is."""

    folder: Path
    version: str
    threads: int


def capacity(small: bool) -> tuple[Share, int]:
    """What a task takes of the cluster, and how many run at once.

    Args:
        small: Whether one core is enough for the model, as for the organism.

    Raises:
        MidspanError: Ray is missing, or has no machine.
    """
    ray = _connected()
    alive = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    machines = [(int(node.get("CPU", 0)), int(node.get("GPU", 0))) for node in alive]
    gpus = sum(gpus for _, gpus in machines)
    if gpus and not small:
        # Cores lie beside the GPU that a task takes; those of machines without one are no use.
        beside = min(cpus // gpus for cpus, gpus in machines if gpus)
        return Share(max(1, beside), 1), gpus
    cpus = [cpus for cpus, _ in machines if cpus]
    if not cpus:
        raise MidspanError("Ray's cluster has no CPUs; start a worker: ray start --address=HEAD")
    return (Share(1, 0), sum(cpus)) if small else (Share(min(cpus), 0), len(cpus))


def run_on_ray(parts: Mapping[str, Part], share: Share) -> dict[str, Any]:
    """Run parts as tasks, each once those that it comes after have ended; what they returned.

    Args:
        parts: By name; a part stands behind those that it comes after.
        share: What each takes.

    Raises:
        MidspanError: A part failed, or its worker died too often; the others are stopped.
    """
    ray = _connected()
    start = _Start(Path.cwd(), __version__, share.cpus)
    # A worker ends with its task: no part finds another's rank, seeds or GPU memory.
    room = {"num_cpus": share.cpus, "num_gpus": share.gpus}
    task = ray.remote(max_calls=1, max_retries=RETRIES, **room)(_work)
    running: dict[str, Any] = {}
    for name, part in parts.items():
        before = [running[other] for other in part.after]
        running[name] = task.options(name=name).remote(name, part, start, *before)
    names = {reference: name for name, reference in running.items()}
    waiting, values = list(names), dict[str, Any]()
    try:
        while waiting:
            (ended,), waiting = ray.wait(waiting)
            values[names[ended]] = _value(ray, names[ended], ended)
    finally:
        for reference in waiting:
            # Those of a cluster that is gone are gone with it.
            with suppress(ray.exceptions.RayError):
                ray.cancel(reference, force=True)
    return values


def _value(ray: Any, name: str, reference: Any) -> Any:
    try:
        ended: _Ended = ray.get(reference)
    except ray.exceptions.RayTaskError:
        raise  # An error in the code; its traceback says where.
    except ray.exceptions.RayError as error:
        line = str(error).splitlines()[0]
        raise MidspanError(
            f"{name}: its workers died, {RETRIES + 1} in all ({line}); the same command continues"
        ) from error
    if ended.error:
        raise MidspanError(f"{name}: {ended.error}; the same command continues")
    return ended.value


def _work(name: str, part: Part, start: _Start, *before: _Ended) -> _Ended:
    """One task, on whichever machine."""
    if any(one.error for one in before):
        return _Ended(None, "a part that it comes after failed")
    if start.version != __version__:
        return _Ended(None, f"midspan {__version__} on this machine, {start.version} on the first")
    try:
        os.chdir(start.folder)
    except OSError:
        return _Ended(None, f"{start.folder} is not on this machine; start in a shared folder")
    import torch

    torch.set_num_threads(start.threads)
    quiet()
    sys.stderr = Named(sys.stderr, name)
    try:
        with patience(LOCK_SECONDS):
            return _Ended(part.work(*part.arguments), "")
    except MidspanError as error:
        return _Ended(None, str(error))


def _connected() -> Any:
    """Ray, connected to the cluster of RAY_ADDRESS or of this machine; to one started here if none.

    Raises:
        MidspanError: Ray is not installed, or its cluster cannot be reached.
    """
    try:
        import ray
    except ImportError as error:
        raise MidspanError("--executor ray needs Ray: pip install 'midspan[ray]'") from error
    if not ray.is_initialized():
        try:
            ray.init(log_to_driver=True, logging_level="warning", include_dashboard=False)
        except (ConnectionError, RuntimeError) as error:
            line = str(error).splitlines()[0]
            raise MidspanError(f"Ray's cluster cannot be reached: {line}") from error
    return ray
