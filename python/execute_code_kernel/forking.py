"""Forks a process whose parent is this process's own parent: session code sees no child that it did not make.

While this is the only thread, the system call is made directly, with CLONE_PARENT, around the interpreter's own steps
for a fork. The C library does not take part: what it does in the child, its idea of the thread's number and of the
robust mutexes, is done here. With other threads (of a numeric library, as a rule) the C library has to prepare them:
the process forks, that child forks again and ends, and the grandchild becomes the supervisor's, as every orphan.

Sources: Linux, clone(2), set_robust_list(2), prctl(2) PR_GET_TID_ADDRESS; CPython, the documentation of
PyOS_BeforeFork.
"""

from __future__ import annotations

from .private import builtins as __builtins__

import ctypes
from os import _exit, close, getpid, getppid, kill, listdir, pipe, read, sched_yield, uname, waitpid, write
from os import fork as _fork
from select import POLLIN, poll
from signal import SIGKILL
from sys import version_info
from warnings import catch_warnings, simplefilter

_CLONE_PARENT = 0x00008000
_CLONE_CHILD_CLEARTID = 0x00200000
_CLONE_CHILD_SETTID = 0x01000000
_SIGCHLD = 17
_PR_GET_TID_ADDRESS = 40
_CALLS = {"x86_64": (56, 274, 273), "aarch64": (220, 100, 99)}
"""Numbers of clone, get_robust_list and set_robust_list by machine."""


_HOOKS_SECONDS = 10.0
"""How long functions of session code that are called around a fork may take."""


class _Clone:
    """The system call, and what it needs to know of this process. Made before there is session code: all that it
    takes of `ctypes` is its own by then."""

    def __init__(self) -> None:
        self._numbers = _CALLS[uname().machine]
        # With the interpreter's lock held: nothing else may run between the call and the steps after it.
        self._call = ctypes.PyDLL(None).syscall
        self._call.argtypes = (ctypes.c_long,) * 6
        self._call.restype = ctypes.c_long
        self._prctl = ctypes.PyDLL(None).prctl
        self._prctl.argtypes = (ctypes.c_int,) + (ctypes.c_ulong,) * 4
        self.before, self.in_parent, self.in_child = [
            _step(name) for name in ("PyOS_BeforeFork", "PyOS_AfterFork_Parent", "PyOS_AfterFork_Child")
        ]
        self._swapped = uname().machine == "aarch64"
        self._found = [ctypes.c_ulong(0) for _ in range(3)]
        self._places = [ctypes.addressof(one) for one in self._found]

    def __call__(self, first) -> int:
        """0 in the child; in the parent its number. Raises OSError."""
        thread, robust, length = self._found
        thread_place, robust_place, length_place = self._places
        thread.value = robust.value = length.value = 0
        flags = _CLONE_PARENT | _SIGCHLD
        if self._prctl(_PR_GET_TID_ADDRESS, thread_place, 0, 0, 0) == 0 and thread.value:
            flags |= _CLONE_CHILD_SETTID | _CLONE_CHILD_CLEARTID
        clone, get_robust, set_robust = self._numbers
        known = self._call(get_robust, 0, robust_place, length_place, 0, 0) == 0
        third, fourth = (0, thread.value) if self._swapped else (thread.value, 0)
        call, in_child, in_parent = self._call, self.in_child, self.in_parent
        self.before()
        pid = call(clone, flags, 0, 0, third, fourth)
        if pid == 0:
            if first is not None:
                first()
            in_child()
            if known and robust.value:
                call(set_robust, robust.value, length.value, 0, 0, 0)
            return 0
        in_parent()
        if pid < 0:
            raise OSError("the system refuses another process")
        return pid


def _step(name: str):
    function = ctypes.pythonapi[name]
    function.argtypes = ()
    function.restype = None
    return function


def is_possible() -> bool:
    """Whether this system has what `fork_beside` needs."""
    return uname().sysname == "Linux" and uname().machine in _CALLS


_clone = _Clone() if is_possible() else None


def fork_beside(first=None) -> int:
    """0 in the new process, which calls `first` as early as it can; in this one the new one's number. Raises OSError."""
    if _clone is None or len(listdir("/proc/self/task")) > 1:
        pid = _fork_twice()
        if pid == 0 and first is not None:
            first()
        return pid
    return _clone(first)


def _fork_twice() -> int:
    reading, writing = pipe()
    middle = _fork_quietly()
    if middle == 0:
        close(reading)
        ended, alive = pipe()
        parent = getpid()
        try:
            pid = _fork()
        except BaseException:
            _exit(1)
        if pid != 0:
            try:
                write(writing, b"%d" % pid)
            finally:
                _exit(0)
        # This is the grandchild. With the end of its parent it gets another one: a moment after that one's
        # descriptors are closed, and until then it would die with it.
        close(writing)
        close(alive)
        read(ended, 1)
        close(ended)
        while getppid() == parent:
            sched_yield()
        return 0
    close(writing)
    waiting = poll()
    waiting.register(reading, POLLIN)
    if not waiting.poll(_HOOKS_SECONDS * 1000):
        kill(middle, SIGKILL)
    told = read(reading, 32)
    try:
        waitpid(middle, 0)
    except ChildProcessError:
        pass  # Session code lets the system collect its children, or a thread of its has done so.
    close(reading)
    if not told:
        raise OSError("the system refuses another process")
    return int(told)


def _fork_quietly() -> int:
    """Since 3.12 the interpreter warns of a fork beside threads; what the session has of them is told otherwise."""
    if version_info < (3, 12):
        return _fork()
    with catch_warnings():
        simplefilter("ignore")
        return _fork()
