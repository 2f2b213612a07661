"""Run a command in which the kernel refuses some system calls, as file systems without their feature do.

    python -m tests.support.refused_calls EPERM symlink,symlinkat COMMAND [ARGUMENT …]

A seccomp filter returns the error. Only for Linux on x86-64 (``SUPPORTED``).
"""

from __future__ import annotations

import ctypes
import errno
import os
import platform
import struct
import sys

SUPPORTED = (platform.system(), platform.machine()) == ("Linux", "x86_64")
_NUMBERS = {
    "rename": 82, "link": 86, "symlink": 88, "flock": 73, "fsync": 74, "linkat": 265, "renameat": 264,
    "renameat2": 316, "symlinkat": 266,
}  # fmt: skip
_LOAD, _EQUAL, _RETURN = 0x20, 0x15, 0x06  # of the berkeley packet filter
_ALLOW, _ERRNO = 0x7FFF0000, 0x00050000
_NO_NEW_PRIVILEGES, _SET_SECCOMP, _FILTER = 38, 22, 2


def refuse(calls: list[str], number: int) -> None:
    """Let these calls of this process and its children fail with an error number."""
    code = struct.pack("HBBI", _LOAD, 0, 0, 0)
    for call in calls:
        code += struct.pack("HBBI", _EQUAL, 0, 1, _NUMBERS[call]) + struct.pack("HBBI", _RETURN, 0, 0, _ERRNO | number)
    code += struct.pack("HBBI", _RETURN, 0, 0, _ALLOW)
    buffer = ctypes.create_string_buffer(code, len(code))
    program = struct.pack("HxxxxxxP", len(code) // 8, ctypes.addressof(buffer))
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(_NO_NEW_PRIVILEGES, 1, 0, 0, 0) or libc.prctl(_SET_SECCOMP, _FILTER, program, 0, 0):
        raise OSError(ctypes.get_errno(), "the filter is not accepted")


if __name__ == "__main__":
    error, names, *command = sys.argv[1:]
    refuse(names.split(","), getattr(errno, error))
    os.execvp(command[0], command)
