"""What foreign code can do in the jail, tried. Every attempt is bounded by the limits it meets."""

import ctypes
import os
import signal
import struct
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from midspan.errors import MidspanError
from midspan.tasks import jail, sandbox, syscalls
from midspan.tasks.sandbox import Limits, Outcome, Program, check, isolation_problem

# Where every promise must hold, a machine that cannot keep them fails the tests.
isolated = pytest.mark.skipif(
    bool(isolation_problem()) and "CI" not in os.environ, reason="no namespaces for this user here"
)
QUICK = Limits(seconds=20, cpu_seconds=1)


def body(text, limits=QUICK, expect=True, **options):
    """Run a function's body and compare what it returns."""
    lines = "\n".join(f"    {line}" for line in text.splitlines())
    test = f"def check(candidate):\n    got = candidate(1)\n    assert got == {expect!r}, got\n"
    return check(Program(f"def f(x):\n{lines}", "f", "", test), limits, **options)


@isolated
def test_right_and_wrong_results():
    assert body("return x + 1", expect=2) == Outcome(True)
    assert body("return x", expect=2) == Outcome(False, "wrong result")
    assert body("return 1 / 0") == Outcome(False, "ZeroDivisionError")
    assert check(Program("def f(:", "f", "", "def check(c): c()"), QUICK).problem == "SyntaxError"
    assert check(Program("g = 1", "f", "", "def check(c): c()"), QUICK).problem == "KeyError"


@isolated
def test_data_of_every_plain_kind_come_and_go_unchanged():
    values = [
        *(None, True, -5, 10**5000, 0.1, float("inf"), 1 + 2j, "\u00e9\n", b"\x00"),
        *([1, [2]], (1,), {1, 2}, frozenset({3}), {"a": [1], 2: (3,)}),
    ]
    test = f"inf = float('inf')\ndef check(c):\n    for v in {values[:3] + values[4:]!r}:\n"
    test += "        got = c(v)\n        assert got == v and type(got) is type(v), v\n"
    test += "    assert c(10**5000) == 10**5000\n    assert c(c(float('nan'))) != 0\n"
    assert check(Program("def f(x): return x", "f", "", test), QUICK) == Outcome(True)


@isolated
def test_no_verdict_is_won_by_ending_the_process_or_by_changing_python():
    assert body("import os\nos._exit(0)").problem == "no reply"
    assert body("import sys\nsys.exit(0)").problem == "SystemExit"
    assert not body("import builtins\nbuiltins.AssertionError = Exception\nreturn 3").passed
    always = "class E:\n    __eq__ = lambda *_: True\nreturn E()"
    assert body(always).problem == "wrong result"
    assert not body("class L(list):\n    __eq__ = lambda *_: True\nreturn L()", expect=[1]).passed
    patched = "import json\njson.dumps = lambda *_: '{\"value\": true}'\nreturn 3"
    assert not body(patched, expect=2).passed


@isolated
def test_no_network_and_no_files_of_the_parent():
    connect = (
        "import socket\ntry:\n    socket.create_connection(('127.0.0.1', 9), 1)\n"
        "except OSError as error:\n    return error.errno"
    )
    assert body(connect, expect=101).passed  # "Network is unreachable"
    places = ["/etc/passwd", "/home", "/proc", "/dev", "/root/.bashrc", "/sys", "/var", __file__]
    look = f"import os\nreturn [p for p in {places!r} if os.path.exists(p)]"
    assert body(look, expect=[]).passed
    assert body("import os\nreturn sorted(os.environ)", expect=["LC_CTYPE"]).passed
    assert body("import os\nreturn os.listdir('/tmp') + os.listdir(os.getcwd())", expect=[]).passed


@isolated
def test_no_way_to_more_rights():
    calls = (
        "import ctypes\nc = ctypes.CDLL(None)\n"
        "return [c.unshare(0x10000000), c.unshare(0x40000000), c.mount(b'x', b'/tmp', b'tmpfs', 0,"
        " None), c.chroot(b'/tmp'), c.sethostname(b'x', 1)]"
    )
    assert body(calls, expect=[-1] * 5).passed
    write = (
        "import os\ntry:\n    open(os.path.join(os.path.dirname(os.__file__), 'x'), 'w')\n"
        "except OSError:\n    return True"
    )
    assert body(write).passed


@isolated
def test_processes_are_few_and_end_with_the_check():
    fork = (
        "import os, time\nmade = 0\nfor _ in range(50):\n    try:\n        child = os.fork()\n"
        "    except OSError:\n        return 0 < made < 8\n    if child == 0:\n"
        "        os.setsid()\n        time.sleep(3600)\n    made += 1\nreturn False"
    )
    start = time.monotonic()
    assert body(fork).passed
    assert time.monotonic() - start < 60


@isolated
def test_signals_reach_only_the_jail():
    kill = (
        "import os\nfor target in (-1, 1):\n    try:\n        os.kill(target, 9)\n"
        "    except OSError:\n        pass\nreturn True"
    )
    assert body(kill).passed  # process 1 of the jail is not its to kill, and it sees no others
    assert body("import os, signal\nos.kill(os.getpid(), signal.SIGKILL)").problem == "no reply"


@isolated
def test_memory_disk_and_files_are_limited():
    memory = "try:\n    return len(bytearray(1 << 30))\nexcept MemoryError:\n    return True"
    assert body(memory).passed
    disk = (
        "try:\n    with open('a', 'wb') as file:\n        for _ in range(64):\n"
        "            file.write(bytes(1 << 20))\nexcept OSError as error:\n"
        "    return error.errno in (27, 28)"
    )
    assert body(disk).passed
    files = "made = []\ntry:\n    while True:\n        made.append(open('/tmp/x', 'w'))\n"
    files += "except OSError as error:\n    return len(made) < 32 and error.errno == 24"
    assert body(files).passed


@isolated
def test_long_output_and_long_answers_are_not_kept():
    assert body("print('x' * 10_000_000)\nreturn True").passed
    assert body("return 'x' * 10_000_000").problem == "too long a reply"


@isolated
def test_endless_code_is_ended():
    assert body("while True: pass").problem == "no reply"  # by its CPU time
    asleep = body("import time\ntime.sleep(3600)", Limits(seconds=3))
    assert asleep == Outcome(False, "out of time")


@isolated
def test_a_test_that_itself_fails_is_not_a_pass():
    program = Program("def f(x): return x", "f", "", "def check(c):\n    import os; os._exit(0)")
    assert check(program, QUICK).problem == "the test ended with status 0"
    program = Program("def f(x): return x", "f", "", "def check(c):\n    undefined")
    assert check(program, QUICK).problem == "NameError in the test"


@isolated
def test_no_file_of_the_caller_by_any_path():
    ways = ["/..", "/../..", "/tmp/../..", "/proc/1/root", "/usr/../.."]
    known = {"tmp"} | {Path(path).parts[1] for path in sandbox._readable()}
    look = (
        f"import os\nreturn sorted({{name for way in {ways!r} if os.path.isdir(way)"
        f" for name in os.listdir(way)}} - {known!r})"
    )
    assert body(look, expect=[]).passed


@isolated
def test_no_open_file_but_the_pipes():
    look = (
        "import os, stat\nkinds = {}\nfor fd in range(64):\n    try:\n"
        "        kinds[fd] = stat.S_IFMT(os.fstat(fd).st_mode)\n    except OSError:\n        pass\n"
        "return sorted(fd for fd, kind in kinds.items()"
        " if kind not in (stat.S_IFIFO, stat.S_IFCHR))"
    )
    assert body(look, expect=[]).passed  # pipes, and /dev/null for what it prints


@isolated
def test_refused_calls_are_refused():
    calls = syscalls.refused()
    attempt = (
        "import ctypes\nlibc = ctypes.CDLL(None, use_errno=True)\nmade = {}\n"
        f"for name, number in {calls!r}.items():\n"
        "    value = libc.syscall(number, 0, 0, 0, 0, 0, 0)\n"
        "    made[name] = (value, ctypes.get_errno())\nreturn made"
    )
    assert body(attempt, expect=dict.fromkeys(calls, (-1, 1))).passed
    sockets = (
        "import socket\nmade = []\nfor family in range(64):\n    try:\n"
        "        socket.socket(family, socket.SOCK_STREAM).close()\n"
        "    except PermissionError:\n        continue\n    except OSError:\n        pass\n"
        "    made.append(family)\nreturn made"
    )
    assert body(sockets, expect=[1, 2, 10]).passed


@isolated
def test_the_session_keyring_is_not_the_callers(monkeypatch):
    # With a filter that lets everything through, so that the keyring alone is tested.
    allow = (0x06).to_bytes(2, sys.byteorder) + bytes(2) + (0x7FFF0000).to_bytes(4, sys.byteorder)
    monkeypatch.setattr(syscalls, "seccomp_filter", lambda: allow)
    keyctl = syscalls.refused()["keyctl"]
    own = ctypes.CDLL(None).syscall(keyctl, 0, -3, 0)
    look = f"import ctypes\nkeyring = ctypes.CDLL(None).syscall({keyctl}, 0, -3, 0)\n"
    assert own != -1
    assert body(look + f"return keyring not in (-1, {own})").passed


@isolated
@pytest.mark.parametrize("isolate", [False, True])
def test_a_jail_that_cannot_be_made_ends_with_its_own_status(tmp_path, isolate):
    room = sandbox._Jail(str(tmp_path), QUICK, isolate)
    streams = (subprocess.DEVNULL, subprocess.DEVNULL)
    broken = sandbox._Jail(str(tmp_path / "missing"), QUICK, isolate)
    for argv, place in ((["/missing"], room), (["/usr/bin/true"], broken)):
        part = sandbox._launch(argv, place, streams, ())
        assert part.process.wait(timeout=60) == jail.SETUP_FAILED
        sandbox._kill(part)


def without_a_jail(monkeypatch, role):
    """One of the two processes has a jail that cannot be made."""
    launch = sandbox._launch

    def broken(argv, room, streams, fds):
        is_it = role in argv
        folder = "/no/such" if is_it else room.folder
        return launch(argv, sandbox._Jail(folder, room.limits, room.isolate), streams, fds)

    monkeypatch.setattr(sandbox, "_launch", broken)


@isolated
@pytest.mark.parametrize("role", ["candidate", "checker"])
def test_a_check_without_a_jail_is_no_verdict(monkeypatch, role):
    without_a_jail(monkeypatch, role)
    with pytest.raises(sandbox.SandboxError, match="jail could not be made|was not started"):
        body("return 1")


@isolated
def test_a_status_of_foreign_code_is_not_that_of_a_jail():
    code = f"import os\nos._exit({jail.SETUP_FAILED})"
    assert body(code).problem == "no reply"
    # The assertions may end before the other jail stands.
    program = Program("def f(x): return x", "f", "", "undefined")
    assert check(program, QUICK).problem == "NameError in the test"


@isolated
def test_a_killed_test_is_no_verdict_but_its_own_time_is_one():
    kill = "def check(c):\n    import os; os.kill(os.getpid(), 9)"
    with pytest.raises(sandbox.SandboxError, match="was killed .status 137"):
        check(Program("def f(x): return x", "f", "", kill), QUICK)
    loop = "def check(c):\n    while True: pass"
    ended = check(Program("def f(x): return x", "f", "", loop), QUICK)
    assert ended.problem == f"the test ended with status {128 + signal.SIGXCPU}"


def jailed_processes(role):
    """Entries of /proc of this test's checks that have been through the jail."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            arguments = (entry / "cmdline").read_bytes().split(b"\0")
            status = (entry / "status").read_text()
        except OSError:
            continue
        if role.encode() in arguments and "Seccomp:\t2" in status and descends(status):
            found.append(entry)
    return found


def descends(status):
    """Whether this process is among a process's parents."""
    while (parent := int(status.partition("PPid:")[2].split()[0])) not in (0, os.getpid()):
        try:
            status = Path(f"/proc/{parent}/status").read_text()
        except OSError:
            return False
    return parent == os.getpid()


def wait_for_candidate():
    deadline = time.monotonic() + 30
    while not (found := jailed_processes("candidate")) and time.monotonic() < deadline:
        time.sleep(0.05)
    return found


@pytest.fixture
def more_groups():
    """Further groups for this process, where it may take any."""
    before = os.getgroups()
    if os.geteuid() == 0:
        os.setgroups([6, 27])
    yield
    if os.geteuid() == 0:
        os.setgroups(before)


@isolated
def test_the_kernel_confirms_the_walls(more_groups):
    code = Program("import time\ntime.sleep(9)", "f", "", "def check(candidate): candidate(1)")
    thread = threading.Thread(target=check, args=(code, Limits(seconds=5)))
    thread.start()
    (jailed,) = wait_for_candidate()
    for name in ("user", "mnt", "pid", "net", "ipc", "uts", "cgroup"):
        own = Path("/proc/self/ns", name).readlink()
        assert (jailed / "ns" / name).readlink() != own, name
    status = dict(line.split(":\t", 1) for line in (jailed / "status").read_text().splitlines())
    rights = ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb")
    assert {int(status[name], 16) for name in rights} == {0}
    assert (status["NoNewPrivs"], status["Seccomp"]) == ("1", "2")
    if os.geteuid() == 0:
        assert status["Uid"].split() == status["Gid"].split() == ["65534"] * 4
        assert status["Groups"].split() == []
    mounts = [line.split() for line in (jailed / "mountinfo").read_text().splitlines()]
    flags = {mount[4]: set(mount[5].split(",")) for mount in mounts}
    assert [place for place, own in flags.items() if "ro" not in own] == ["/"]
    assert len(flags) > 1 and all({"nosuid", "nodev"} <= own for own in flags.values())
    thread.join()


@isolated
def test_the_jail_ends_with_its_owner():
    script = (
        "from midspan.tasks.sandbox import Limits, Program, check\n"
        "code = Program('import time\\ntime.sleep(60)', 'f', '', 'def check(c): c(1)')\n"
        "check(code, Limits(seconds=60))"
    )
    owner = subprocess.Popen([sys.executable, "-c", script])
    jailed = [*wait_for_candidate(), *jailed_processes("checker")]
    os.kill(owner.pid, signal.SIGKILL)
    owner.wait()
    deadline = time.monotonic() + 10
    while (left := [one for one in jailed if one.exists()]) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert jailed and not left


@pytest.mark.parametrize("machine", ["x86_64", "aarch64"])
def test_the_filter_decides_as_its_tables_say(machine):
    """Its instructions, run one by one."""
    program = list(struct.iter_unpack("=HBBI", syscalls.seccomp_filter(machine)))
    architecture = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}
    refused, killed, allowed = 0x50001, 0x80000000, 0x7FFF0000

    def decide(number, argument=0, machine=machine):
        data = {0: number, 4: architecture[machine], 16: argument}
        at, loaded = 0, 0
        while True:
            code, jump_true, jump_false, value = program[at]
            at += 1
            if code == 0x20:
                loaded = data[value]
            elif code == 0x06:
                return value
            else:
                holds = loaded == value if code == 0x15 else loaded >= value
                at += jump_true if holds else jump_false

    calls = syscalls.refused(machine)
    socket = {"x86_64": 41, "aarch64": 198}[machine]
    for number in range(600):
        if number != socket:
            assert decide(number) == (refused if number in calls.values() else allowed), number
    assert [family for family in range(64) if decide(socket, family) == allowed] == [1, 2, 10]
    assert decide(0x40000001) == refused
    assert decide(1, machine={"x86_64": "aarch64", "aarch64": "x86_64"}[machine]) == killed
    assert syscalls.seccomp_filter("riscv64") is None


def test_the_interpreters_folder_is_shown_where_the_system_does_not_hold_it(monkeypatch):
    for prefix, more in (("/usr", ()), ("/usr/local", ()), ("/", ()), ("/usr2/py", ("/usr2/py",))):
        monkeypatch.setattr(sys, "base_prefix", prefix)
        sandbox._readable.cache_clear()
        shown = sandbox._readable()
        assert tuple(path for path in shown if path not in sandbox._SYSTEM) == more, prefix
    sandbox._readable.cache_clear()


def test_without_isolation_code_is_refused_unless_forced(monkeypatch):
    monkeypatch.setattr(sandbox, "isolation_problem", lambda: "none here")
    with pytest.raises(MidspanError, match="no isolation on this machine"):
        body("return True")
    assert body("return True", force=True) == Outcome(True)
    assert body("while True: pass", force=True).problem == "no reply"
    assert body("import os\nreturn sorted(os.environ)", expect=["LC_CTYPE"], force=True).passed
    assert body("import os\nreturn os.listdir(os.getcwd())", expect=[], force=True).passed
