"""The reduced tier: Landlock and a system call filter, where there is no sandbox around the box.

The supervisor confines itself, and with that every kernel: files outside the lists cannot be opened, signals and
traces reach no process outside, and there is no TCP. Kernels then add a confinement of their own, so that their signals
do not reach the supervisor either, and the filter, which refuses all sockets but pairs, and changes of files that
Landlock does not know of (attributes.py).

Source: the Landlock interface of Linux, Documentation/userspace-api/landlock.rst.
"""

from __future__ import annotations

from .private import builtins as __builtins__

import ctypes
import json
import os
import stat
from base64 import b64decode

from .attributes import set_by_descriptor

SPEC = "confinement.json"
"""Name of the specification in the box's folder."""

_NO_NEW_PRIVS, _SECCOMP, _FILTER = 38, 22, 2  # prctl
_CREATE, _ADD_RULE, _RESTRICT = 444, 445, 446  # the same numbers on every architecture
_VERSION_FLAG, _PATH_BENEATH = 1, 1

# struct landlock_ruleset_attr: rights by what they are good for.
_EXECUTE, _WRITE_FILE, _READ_FILE, _READ_DIR = 1, 2, 4, 8
_REFER, _TRUNCATE, _IOCTL_DEV = 1 << 13, 1 << 14, 1 << 15
_MAKE = 0x1FF0  # remove and make: folders, files, links, sockets, FIFOs; and devices, which no right of the user allows
_READ = _EXECUTE | _READ_FILE | _READ_DIR
_ON_FILES = _EXECUTE | _WRITE_FILE | _READ_FILE | _TRUNCATE | _IOCTL_DEV
_TCP = 3
_SCOPES = 3  # abstract sockets, signals


class _Ruleset(ctypes.Structure):
    _fields_ = [("fs", ctypes.c_uint64), ("net", ctypes.c_uint64), ("scoped", ctypes.c_uint64)]


class _Path(ctypes.Structure):
    _pack_ = 1
    _fields_ = [("rights", ctypes.c_uint64), ("parent", ctypes.c_int32)]


class _Program(ctypes.Structure):
    _fields_ = [("length", ctypes.c_ushort), ("instructions", ctypes.c_void_p)]


class Confinement:
    """What a box's folder says of its confinement; nothing where it says nothing."""

    def __init__(self, folder: str | None) -> None:
        self._filter = None
        path = None if folder is None else os.path.join(folder, SPEC)
        if path is None or not os.path.exists(path):
            return
        with open(path, encoding="utf-8") as file:
            spec = json.load(file)
        self._filter = b64decode(spec["filter"])
        _confine(spec)

    @property
    def filters(self) -> bool:
        """Whether kernels get a filter, which refuses them sockets."""
        return self._filter is not None

    def apply_filter(self) -> None:
        """In a kernel, when it has its connections. Raises OSError."""
        if self._filter is None:
            return
        _scope()
        instructions = ctypes.create_string_buffer(self._filter, len(self._filter))
        program = _Program(len(self._filter) // 8, ctypes.addressof(instructions))
        _prctl(_SECCOMP, _FILTER, ctypes.addressof(program))
        set_by_descriptor()


def version() -> int:
    """The version of Landlock's interface here; 0 where there is none."""
    return max(_libc().syscall(_CREATE, None, ctypes.c_size_t(0), _VERSION_FLAG), 0)


def _confine(spec: dict) -> None:
    """From now on only what the lists name can be opened: to `read` and run, to `open` for writing too, to `write` in
    every way. Raises OSError."""
    level = version()
    if level == 0:
        raise OSError("this kernel has no Landlock")
    rights = _READ | _WRITE_FILE | _MAKE
    rights |= (_REFER if level >= 2 else 0) | (_TRUNCATE if level >= 3 else 0) | (_IOCTL_DEV if level >= 5 else 0)
    ruleset = _Ruleset(rights, _TCP if level >= 4 else 0, _SCOPES if level >= 6 else 0)
    size = 24 if level >= 6 else 16 if level >= 4 else 8
    descriptor = _call(_CREATE, ctypes.byref(ruleset), ctypes.c_size_t(size), 0)
    for path in spec["read"]:
        _allow(descriptor, path, _READ)
    for path in spec["open"]:
        _allow(descriptor, path, _READ | _WRITE_FILE)
    for path in spec["write"]:
        _allow(descriptor, path, rights & ~_IOCTL_DEV)
    _prctl(_NO_NEW_PRIVS, 1, 0)
    _call(_RESTRICT, descriptor, 0)
    os.close(descriptor)


def _scope() -> None:
    """From now on signals reach no process but those that come of this one: without its supervisor, what a session has
    started would outlive it. Raises OSError."""
    if version() < 6:
        return
    descriptor = _call(_CREATE, ctypes.byref(_Ruleset(0, 0, _SCOPES)), ctypes.c_size_t(24), 0)
    _call(_RESTRICT, descriptor, 0)
    os.close(descriptor)


def _allow(ruleset: int, path: str, rights: int) -> None:
    """Grants rights below a path; a path that is not there is left out."""
    try:
        parent = os.open(path, os.O_PATH | os.O_CLOEXEC)
    except FileNotFoundError:
        return
    if not stat.S_ISDIR(os.fstat(parent).st_mode):
        rights &= _ON_FILES
    rule = _Path(rights, parent)
    _call(_ADD_RULE, ruleset, _PATH_BENEATH, ctypes.byref(rule), 0)
    os.close(parent)


def _libc():
    return ctypes.CDLL(None, use_errno=True)


def _call(number: int, *arguments) -> int:
    result = _libc().syscall(number, *arguments)
    if result < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return result


def _prctl(option: int, value: int, pointer: int) -> None:
    if _libc().prctl(option, ctypes.c_ulong(value), ctypes.c_ulong(pointer), 0, 0) != 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
