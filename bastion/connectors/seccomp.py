"""A filter of system calls for programs in a box, as the kernel takes it (seccomp(2), classic BPF).

It says no to what such a program has no need of and could use to get out or to start others: processes, mounts,
tracing, sockets of other kinds than local ones, and typing into a terminal. On processors it does not know there is no
filter, and so no box.
"""

from __future__ import annotations

import errno
import struct
from dataclasses import dataclass

_LOAD, _JUMP_EQUAL, _JUMP_GREATER, _JUMP_SET, _RETURN = 0x20, 0x15, 0x35, 0x45, 0x06
_ALLOW, _KILL, _ERRNO = 0x7FFF0000, 0x80000000, 0x00050000
_NUMBER, _ARCHITECTURE, _ARGUMENTS = 0, 4, 16  # offsets in struct seccomp_data
_X32 = 0x40000000
_CLONE_THREAD = 0x10000
_AF_UNIX = 1
_TIOCSTI, _TIOCLINUX = 0x5412, 0x541C


@dataclass(frozen=True, slots=True, kw_only=True)
class Processor:
    """An architecture (linux/audit.h), and the numbers of its system calls."""

    architecture: int
    denied: tuple[int, ...]
    clone: int
    clone3: int
    socket: int
    ioctl: int


_PROCESSORS = {
    "x86_64": Processor(
        architecture=0xC000003E,
        clone=56, clone3=435, socket=41, ioctl=16,
        denied=(
            57, 58,                                                       # fork, vfork
            101, 310, 311, 434, 438, 135,                                 # ptrace, process_vm_*, pidfd_*, personality
            165, 166, 155, 161, 272, 308, 428, 429, 430, 431, 432, 442,   # mounts, chroot, unshare, setns
            321, 298, 323, 425, 426, 427,                                 # bpf, perf, userfaultfd, io_uring
            248, 249, 250,                                                # keys
            246, 320, 175, 313, 176, 169, 167, 163, 103, 179,             # kernel, modules, reboot, swap
            303, 304, 319, 322, 133, 259,                                 # handles, memfd, execveat, mknod
        ),
    ),
    "aarch64": Processor(
        architecture=0xC00000B7,
        clone=220, clone3=435, socket=198, ioctl=29,
        denied=(
            117, 270, 271, 434, 438, 92,
            40, 39, 41, 51, 97, 268, 428, 429, 430, 431, 432, 442,
            280, 241, 282, 425, 426, 427,
            217, 218, 219,
            104, 294, 105, 273, 106, 142, 224, 89, 116, 60,
            264, 265, 279, 281, 33,
        ),
    ),
}  # fmt: skip


def processor_of(machine: str) -> Processor | None:
    """The processors called *machine* (`os.uname`); None where they are not known."""
    return _PROCESSORS.get(machine)


def seccomp_filter(machine: str) -> bytes | None:
    """The program for processors called *machine* (`os.uname`); None where it is not known."""
    processor = processor_of(machine)
    if processor is None:
        return None
    program = [
        (_LOAD, 0, 0, _ARCHITECTURE),
        (_JUMP_EQUAL, 1, 0, processor.architecture),
        (_RETURN, 0, 0, _KILL),
        (_LOAD, 0, 0, _NUMBER),
    ]
    if machine == "x86_64":
        program += [(_JUMP_GREATER, 0, 1, _X32), _refuse(errno.ENOSYS)]
    for number in processor.denied:
        program += [(_JUMP_EQUAL, 0, 1, number), _refuse(errno.EPERM)]
    # Without clone3 the C library takes clone, whose flags can be looked at: threads, and no processes.
    program += [(_JUMP_EQUAL, 0, 1, processor.clone3), _refuse(errno.ENOSYS)]
    program += [
        (_JUMP_EQUAL, 0, 4, processor.clone),
        (_LOAD, 0, 0, _ARGUMENTS),
        (_JUMP_SET, 1, 0, _CLONE_THREAD),
        _refuse(errno.EPERM),
        (_RETURN, 0, 0, _ALLOW),
        (_LOAD, 0, 0, _NUMBER),
    ]
    program += [
        (_JUMP_EQUAL, 0, 4, processor.socket),
        (_LOAD, 0, 0, _ARGUMENTS),
        (_JUMP_EQUAL, 1, 0, _AF_UNIX),
        _refuse(errno.EAFNOSUPPORT),
        (_RETURN, 0, 0, _ALLOW),
        (_LOAD, 0, 0, _NUMBER),
    ]
    program += [
        (_JUMP_EQUAL, 0, 5, processor.ioctl),
        (_LOAD, 0, 0, _ARGUMENTS + 8),
        (_JUMP_EQUAL, 1, 0, _TIOCSTI),
        (_JUMP_EQUAL, 0, 1, _TIOCLINUX),
        _refuse(errno.EPERM),
        (_RETURN, 0, 0, _ALLOW),
    ]
    program.append((_RETURN, 0, 0, _ALLOW))
    return b"".join(struct.pack("<HBBI", *instruction) for instruction in program)


def _refuse(number: int) -> tuple[int, int, int, int]:
    return _RETURN, 0, 0, _ERRNO | number
