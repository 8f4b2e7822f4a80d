"""The system calls that jailed code may not make, as a seccomp filter.

Namespaces do not cover them: keyrings and some kinds of socket have none, memory behind a file
descriptor counts to no limit of a process, and the rest are large parts of the kernel that no
answer to a benchmark needs. Numbers are those of the Linux kernel's system-call tables.
"""

import errno
import platform
import struct

# By machine: audit architecture, and the numbers of what is refused outright.
_MACHINES: dict[str, tuple[int, dict[str, int]]] = {
    "x86_64": (
        0xC000003E,
        {
            **{"add_key": 248, "request_key": 249, "keyctl": 250},
            **{"memfd_create": 319, "memfd_secret": 447, "shmget": 29, "msgget": 68},
            **{"io_uring_setup": 425, "io_uring_enter": 426, "io_uring_register": 427},
            **{"bpf": 321, "userfaultfd": 323, "perf_event_open": 298},
            **{"ptrace": 101, "process_vm_readv": 310, "process_vm_writev": 311, "kcmp": 312},
        },
    ),
    "aarch64": (
        0xC00000B7,
        {
            **{"add_key": 217, "request_key": 218, "keyctl": 219},
            **{"memfd_create": 279, "memfd_secret": 447, "shmget": 194, "msgget": 186},
            **{"io_uring_setup": 425, "io_uring_enter": 426, "io_uring_register": 427},
            **{"bpf": 280, "userfaultfd": 282, "perf_event_open": 241},
            **{"ptrace": 117, "process_vm_readv": 270, "process_vm_writev": 271, "kcmp": 272},
        },
    ),
}
_SOCKET = {"x86_64": 41, "aarch64": 198}
# Of these families the network namespace holds all there is; of vsock, for one, it does not.
_FAMILIES = {"AF_UNIX": 1, "AF_INET": 2, "AF_INET6": 10}
# Numbers from here on are x86-64's second table, x32, which would go round the first.
_SECOND_TABLE = 0x40000000

_LOAD, _EQUAL, _AT_LEAST, _RETURN = 0x20, 0x15, 0x35, 0x06
_NUMBER, _ARCHITECTURE, _FIRST_ARGUMENT = 0, 4, 16  # bytes into seccomp_data
_ALLOW, _REFUSE, _KILL = 0x7FFF0000, 0x00050000 | errno.EPERM, 0x80000000

MACHINE = platform.machine()


def refused(machine: str = MACHINE) -> dict[str, int]:
    """The refused calls of a machine by name; none where its table is not known."""
    return dict(_MACHINES[machine][1]) if machine in _MACHINES else {}


def seccomp_filter(machine: str = MACHINE) -> bytes | None:
    """A filter in classic BPF, 8 bytes an instruction; None where the machine's table is not known.

    Refused calls fail with EPERM; a call of another architecture ends the process.
    """
    if machine not in _MACHINES:
        return None
    architecture, calls = _MACHINES[machine]
    program = [(_LOAD, 0, 0, _ARCHITECTURE), (_EQUAL, 1, 0, architecture), (_RETURN, 0, 0, _KILL)]
    program += [(_LOAD, 0, 0, _NUMBER), *_refuse(_AT_LEAST, _SECOND_TABLE)]
    for number in calls.values():
        program += _refuse(_EQUAL, number)
    program += [(_EQUAL, 1, 0, _SOCKET[machine]), (_RETURN, 0, 0, _ALLOW)]
    program += [(_LOAD, 0, 0, _FIRST_ARGUMENT)]
    for family in _FAMILIES.values():
        program += [(_EQUAL, 0, 1, family), (_RETURN, 0, 0, _ALLOW)]
    program += [(_RETURN, 0, 0, _REFUSE)]
    return b"".join(struct.pack("=HBBI", *instruction) for instruction in program)


def _refuse(test: int, value: int) -> list[tuple[int, int, int, int]]:
    """Refuse where the test of the loaded number holds, else go on."""
    return [(test, 0, 1, value), (_RETURN, 0, 0, _REFUSE)]
