"""Parts as tasks of Ray: what a task does on its machine, and a whole study on a cluster."""

import json
import os
import sys
import threading
import time
from collections import Counter
from types import SimpleNamespace

import pytest

from midspan.errors import MidspanError
from midspan.journal import journal
from midspan.journal.journal import Journal
from midspan.runs import ray_tasks
from midspan.runs.executors import How
from midspan.runs.processes import Part
from midspan.runs.ray_tasks import Share, _Ended, _Start, _work
from midspan.version import __version__
from midspan.yaml_file import read_fields

needs_ray = pytest.mark.skipif(not os.environ.get("MIDSPAN_RAY"), reason="runs by: make check-ray")


@pytest.fixture
def start(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "stderr", sys.stderr)  # both are put back
    monkeypatch.chdir(tmp_path)
    return _Start(tmp_path, __version__, 1)


def test_a_task_returns_what_its_part_does_from_the_folder_of_who_started_it(start, tmp_path):
    (tmp_path / "deep").mkdir()
    assert _work("a", Part(os.getcwd, ()), start._replace(folder=tmp_path / "deep")) == _Ended(
        str(tmp_path / "deep"), ""
    )


@pytest.mark.parametrize(
    ("change", "before", "said"),
    [
        ({}, "", r"a.yaml is not YAML"),
        ({"version": "0.0.1"}, "", rf"midspan {__version__} on this machine, 0.0.1 on the first"),
        ({"folder": "/no/such"}, "", "/no/such is not on this machine; start in a shared folder"),
        ({}, "broken", "comes after failed"),
    ],
)
def test_a_task_says_in_one_line_what_keeps_it_from_its_end(start, change, before, said):
    part = Part(read_fields, ("[", "a.yaml"))
    ended = _work("a", part, start._replace(**change), _Ended(None, ""), _Ended(None, before))
    assert ended.value is None and said in ended.error and "\n" not in ended.error


def test_small_models_take_every_core(monkeypatch):
    monkeypatch.setattr(os, "cpu_count", lambda: 5)
    assert How("", None).width(small=True) == 5 and How("", 3).width(small=True) == 3
    assert How("", None).or_one.jobs == 1 and How("", None, executor="ray").or_one.jobs is None
    with pytest.raises(MidspanError, match=r"--executor.*processes.*ray"):
        How(executor="slurm")


def written(path):
    with Journal(path) as found:
        found.append({"b": 2})
    return len(found)


def test_a_task_waits_for_the_lock_of_a_machine_that_died(start, tmp_path, monkeypatch):
    path = tmp_path / "journal.jsonl"
    dead = Journal(path)
    dead.append({"a": 1})
    monkeypatch.setattr(ray_tasks, "LOCK_SECONDS", 0.1)
    assert "another process is writing" in _work("a", Part(written, (path,)), start).error
    monkeypatch.setattr(ray_tasks, "LOCK_SECONDS", 60.0)
    monkeypatch.setattr(journal, "_POLL_SECONDS", 0.05)
    threading.Timer(0.5, dead.close).start()
    assert _work("a", Part(written, (path,)), start) == _Ended(2, "")
    with Journal(path), pytest.raises(MidspanError, match="another process is writing"):
        written(path)  # others do not wait


GPU, NONE = Share(2, 1), {"CPU": 64.0}


@pytest.mark.parametrize(
    ("nodes", "share", "count"),
    [
        ([NONE, {"CPU": 16.0, "GPU": 8.0}], GPU, 8),
        ([{"CPU": 128.0}, {"CPU": 8.0, "GPU": 1.0}], Share(8, 1), 1),
        ([{"CPU": 64.0, "GPU": 8.0}, {"CPU": 8.0, "GPU": 4.0}], GPU, 12),
        ([{"CPU": 4.0, "GPU": 8.0}], Share(1, 1), 8),
        ([NONE, {"CPU": 8.0}, {"memory": 1.0}], Share(8, 0), 2),
    ],
)
def test_a_task_fits_beside_its_like_on_every_machine_that_has_gpus(
    monkeypatch, nodes, share, count
):
    machines = [{"Alive": True, "Resources": node} for node in nodes]
    machines.append({"Alive": False, "Resources": {"CPU": 1.0, "GPU": 1.0}})
    everything = Counter()
    for node in nodes:
        everything.update(node)
    fake = SimpleNamespace(nodes=lambda: machines, cluster_resources=lambda: everything)
    monkeypatch.setattr(ray_tasks, "_connected", lambda: fake)
    assert ray_tasks.capacity(small=False) == (share, count)
    assert ray_tasks.capacity(small=True) == (Share(1, 0), everything["CPU"])


def test_without_ray_one_line_names_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(MidspanError, match=r"pip install 'midspan\[ray\]'"):
        How("", None, executor="ray").width(small=True)


@pytest.fixture(scope="module")
def cluster():
    """Two machines of one core each, as far as Ray can tell."""
    import ray
    from ray.cluster_utils import Cluster

    found = None
    for left in range(3, 0, -1):
        try:
            # Ray gives a machine 30 seconds to start, which a busy one may not keep.
            found = found or Cluster(initialize_head=True, head_node_args={"num_cpus": 1})
            found.second = found.add_node(num_cpus=1)
            break
        except Exception as error:
            if left == 1 or "timed out during startup" not in str(error):
                raise
    found.wait_for_nodes()
    ray.init(address=found.address)
    yield found
    ray.shutdown()
    found.shutdown()


def keys(folder):
    files = sorted(folder.glob("journal*.jsonl"))
    return [json.loads(line)["key"] for file in files for line in file.read_text().splitlines()]


def kill_when_at_work(cluster, folder, seen):
    """Take a machine away, without a word, once both have paid for replies."""
    shares = [folder / f"journal.{index}.jsonl" for index in range(2)]
    while not all(file.is_file() and file.read_bytes().count(b"\n") > 5 for file in shares):
        time.sleep(0.01)
    cluster.remove_node(cluster.second, allow_graceful=False)
    seen.append(len(keys(folder)))


@pytest.mark.cluster
@needs_ray
def test_records_of_a_cluster_that_loses_a_machine_are_those_of_one_process(
    cluster, organism_folder, tmp_path
):
    from midspan.studies.redteam.prepare import prepare
    from midspan.studies.redteam.presets import organism_attack, organism_redteam
    from midspan.studies.redteam.run import run_redteam
    from midspan.studies.redteam.shares import run_shared

    config = organism_redteam().model_copy(
        update={
            "models": (str(organism_folder),),
            "paper_models": {},
            "attacks": (organism_attack("direct"), organism_attack("tap"), organism_attack("pair")),
            "behaviors": "organism:6",
            "decoding": {"length": 64, "block_length": 32, "steps": 32},
        }
    )
    run_redteam(config, tmp_path / "alone", "a test")
    seen: list[int] = []
    killing = (cluster, tmp_path / "ray", seen)
    killer = threading.Thread(target=kill_when_at_work, args=killing, daemon=True)
    killer.start()
    done = run_shared(prepare(config), tmp_path / "ray", How("a test", 2, executor="ray"))
    killer.join(timeout=60)
    records = [(tmp_path / name / "records.jsonl").read_bytes() for name in ("alone", "ray")]
    assert records[0] == records[1] and done.report.is_file()
    after = keys(tmp_path / "ray")
    assert sorted(after) == sorted(keys(tmp_path / "alone"))
    assert 0 < seen[0] < len(after), "the machine was lost in the middle"
    assert len(set(after)) == len(after), "nothing was paid for twice"
