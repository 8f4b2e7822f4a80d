"""Runs one interpreter in a jail: new namespaces, a root of its own, no capabilities, limits.

`sandbox.py` hands this file's text to a fresh interpreter, so it imports the standard library
alone. Needs Linux 5.12; a step that fails ends the process before foreign code runs.
"""

import ctypes
import json
import os
import resource
import signal
import sys
from pathlib import Path
from typing import Any, NoReturn

_NOSUID, _NODEV, _BIND, _RECURSIVE, _PRIVATE, _DETACH = 2, 4, 4096, 16384, 1 << 18, 2
_READ_ONLY = 1 | _NOSUID | _NODEV  # as attributes of mount_setattr
_MOUNT_SETATTR, _HERE, _WHOLE_TREE = 442, -100, 0x8000  # one number on every architecture
_DIE_WITH_PARENT, _SET_SECCOMP, _DROP_CAPABILITY, _NO_NEW_PRIVILEGES = 1, 22, 24, 38
_SECCOMP_FILTER, _JOIN_SESSION_KEYRING = 2, 1
# User, mount, process, network, IPC, host name, control group.
_NAMESPACES = 0x10000000 | 0x20000 | 0x20000000 | 0x40000000 | 0x8000000 | 0x4000000 | 0x2000000
_NOBODY = 65534
SETUP_FAILED = 97
BEGUN = b"."

_libc = ctypes.CDLL(None, use_errno=True)


def main(config: dict[str, Any]) -> NoReturn:
    """Run `config["argv"]` in the jail; without `isolate`, in its folder and under its limits."""
    _libc.prctl(_DIE_WITH_PARENT, signal.SIGKILL)
    os.set_inheritable(config["begun"], False)
    try:
        if config["isolate"]:
            _enter(config)
        os.chdir(config["root"])
        _execute(config)
    except OSError as error:
        print(f"jail: {error}", file=sys.stderr)
    os._exit(SETUP_FAILED)


def _enter(config: dict[str, Any]) -> NoReturn:
    """This process maps the users, its child makes the namespaces, and theirs is process 1."""
    is_root = os.geteuid() == 0
    if is_root:
        os.setgroups([])  # an ordinary user cannot; /usr is all that groups could open
    ready, mapped = os.pipe(), os.pipe()
    child = os.fork()
    if child:
        os.close(ready[1])
        if os.read(ready[0], 1):
            _map_users(child, is_root)
            os.write(mapped[1], b".")
        os.close(mapped[1])
        _end_as(child)
    _libc.prctl(_DIE_WITH_PARENT, signal.SIGKILL)
    os.close(mapped[1])
    _call("unshare", _NAMESPACES)
    os.write(ready[1], b".")
    if not os.read(mapped[0], 1):
        os._exit(SETUP_FAILED)
    first = os.fork()
    if first:
        _end_as(first)
    _libc.prctl(_DIE_WITH_PARENT, signal.SIGKILL)
    # No further namespace in which the program would have rights again.
    Path("/proc/sys/user/max_user_namespaces").write_text("0")
    _make_root(config)
    program = os.fork()
    if program:
        _end_as(program)  # and with process 1 goes all that the program has started
    _drop_rights(is_root)
    _filter_calls(config)
    _execute(config)


def _map_users(child: int, is_root: bool) -> None:
    """The caller is root inside. Root maps nobody too: limits on processes do not bind root."""
    extra = f"\n{_NOBODY} {_NOBODY} 1" if is_root else ""
    Path(f"/proc/{child}/setgroups").write_text("deny")
    Path(f"/proc/{child}/uid_map").write_text(f"0 {os.geteuid()} 1{extra}")
    Path(f"/proc/{child}/gid_map").write_text(f"0 {os.getegid()} 1{extra}")


def _make_root(config: dict[str, Any]) -> None:
    """A file system in memory: the interpreter, read-only, and /tmp. No /proc, no /dev."""
    root = config["root"]
    _mount(None, "/", None, _RECURSIVE | _PRIVATE)
    size = f"size={config['disk_bytes']},nr_inodes=4096,mode=755"
    _mount("tmpfs", root, "tmpfs", _NOSUID | _NODEV, size)
    for path in config["readable"]:
        inside = Path(root + path)
        if Path(path).is_symlink():
            inside.symlink_to(Path(path).readlink())
            continue
        inside.mkdir(parents=True, exist_ok=True)
        _mount(path, str(inside), None, _BIND | _RECURSIVE)
        attributes = (ctypes.c_uint64 * 4)(_READ_ONLY, 0, 0, 0)
        size_of = ctypes.c_size_t(ctypes.sizeof(attributes))
        _call("syscall", _MOUNT_SETATTR, _HERE, bytes(inside), _WHOLE_TREE, attributes, size_of)
    (Path(root) / "tmp").mkdir(exist_ok=True)
    (Path(root) / "tmp").chmod(0o1777)
    os.chdir(root)
    _call("pivot_root", b".", b".")
    _call("umount2", b".", _DETACH)
    os.chdir("/tmp")


def _drop_rights(is_root: bool) -> None:
    capability = 0
    while _libc.prctl(_DROP_CAPABILITY, capability, 0, 0, 0) == 0:
        capability += 1
    if is_root:
        os.setgid(_NOBODY)
        os.setuid(_NOBODY)
    _call("prctl", _NO_NEW_PRIVILEGES, 1, 0, 0, 0)


def _filter_calls(config: dict[str, Any]) -> None:
    """Leave the caller's keyring, then install the filter of system calls."""
    # The session keyring has no namespace: without this it would be the caller's own.
    _call("syscall", config["keyctl"], _JOIN_SESSION_KEYRING, None)
    program = bytes.fromhex(config["seccomp"])
    instructions = ctypes.create_string_buffer(program, len(program))
    _call(
        "prctl",
        _SET_SECCOMP,
        _SECCOMP_FILTER,
        ctypes.byref(_Program(len(program) // 8, ctypes.addressof(instructions))),
        0,
        0,
    )


class _Program(ctypes.Structure):
    """struct sock_fprog."""

    _fields_ = [("length", ctypes.c_ushort), ("instructions", ctypes.c_void_p)]


def _execute(config: dict[str, Any]) -> NoReturn:
    """Become the program; its environment is empty and its capabilities end here."""
    for name, limit in config["limits"].items():
        # SIGKILL comes a second after SIGXCPU, so that it says that somebody else killed.
        most = limit + 1 if name == "CPU" else limit
        resource.setrlimit(getattr(resource, f"RLIMIT_{name}"), (limit, most))
    os.write(config["begun"], BEGUN)  # foreign code cannot: the pipe closes as it starts
    os.execve(config["argv"][0], config["argv"], {})


def _end_as(child: int) -> NoReturn:
    _, status = os.waitpid(child, 0)
    code = os.waitstatus_to_exitcode(status)
    os._exit(code if code >= 0 else 128 - code)


def _mount(
    source: str | None, target: str, kind: str | None, flags: int, options: str | None = None
) -> None:
    texts = [None if text is None else text.encode() for text in (source, target, kind, options)]
    _call("mount", texts[0], texts[1], texts[2], ctypes.c_ulong(flags), texts[3])


def _call(function: str, *arguments: Any) -> None:
    if getattr(_libc, function)(*arguments) == -1:
        number = ctypes.get_errno()
        raise OSError(number, f"{function}: {os.strerror(number)}")


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
