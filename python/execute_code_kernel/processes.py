"""Process facts that only Linux offers, each with a quiet fallback elsewhere."""

from __future__ import annotations

from .private import builtins as __builtins__

import os
import signal
import time
from functools import partial

try:
    import ctypes

    _libc = ctypes.CDLL(None, use_errno=True)
    _prctl = _libc.prctl
except (ImportError, OSError, AttributeError):  # no ctypes in this build, or no Linux
    _prctl = None

_TICKS = os.sysconf("SC_CLK_TCK")

_PR_SET_PDEATHSIG = 1
_PR_SET_DUMPABLE = 4
_PR_SET_CHILD_SUBREAPER = 36


def _set(option: int, value: int) -> bool:
    return _prctl is not None and _prctl(option, value, 0, 0, 0) == 0


def become_subreaper() -> bool:
    """Orphans below this process become its children."""
    return _set(_PR_SET_CHILD_SUBREAPER, 1)


def set_dumpable(dumpable: bool) -> bool:
    """A process that is not dumpable cannot be traced, nor its memory read through /proc, by its user's processes."""
    return _set(_PR_SET_DUMPABLE, int(dumpable))


def die_with_parent() -> bool:
    """This process is killed when its parent ends."""
    return DIE_WITH_PARENT() == 0


DIE_WITH_PARENT = partial(_prctl, _PR_SET_PDEATHSIG, int(signal.SIGKILL), 0, 0, 0) if _prctl else partial(int, -1)
"""The same in one step of C's, for a process that is to touch as little as it can: gives 0, or -1 where it cannot be."""


class ProcessTable:
    """All processes at one moment: parent, process session and start of each that is no zombie."""

    def __init__(self) -> None:
        self.parent: dict[int, int] = {}
        self.session: dict[int, int] = {}
        self.started: dict[int, float] = {}
        """Seconds since the machine started, rounded down to the kernel's clock tick."""
        self._children: dict[int, list[int]] = {}
        try:
            names = os.listdir("/proc")
        except OSError:
            names = []
        for name in names:
            if name.isdigit():
                self._read(int(name))

    def _read(self, pid: int) -> None:
        fields = _living(pid)
        if fields is None:
            return
        parent = int(fields[1])
        self.parent[pid] = parent
        self.session[pid] = int(fields[3])
        self.started[pid] = int(fields[19]) / _TICKS
        self._children.setdefault(parent, []).append(pid)

    def children(self, pid: int) -> list[int]:
        return self._children.get(pid, [])

    def tree(self, pid: int) -> set[int]:
        """The process, when it lives, and everything below it."""
        found: set[int] = set()
        waiting = [pid]
        while waiting:
            current = waiting.pop()
            if current in found:
                continue
            if current in self.parent:
                found.add(current)
            waiting.extend(self.children(current))
        return found


def _living(pid: int):
    """What /proc tells of a process, from its state on; None when it has ended. A zombie's children are its parent's or
    the subreaper's already, so that leaving it out hides nobody."""
    try:
        descriptor = os.open(f"/proc/{pid}/stat", os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        stat = os.read(descriptor, 4096)
    except OSError:
        return None
    finally:
        os.close(descriptor)
    # "pid (name) state parent group session …"; a name may contain spaces and parentheses.
    fields = stat.rpartition(b")")[2].split()
    return None if len(fields) < 20 or fields[0] in (b"Z", b"X") else fields


def parent_of(pid: int):
    """None when it has ended."""
    fields = _living(pid)
    return None if fields is None else int(fields[1])


def is_childless(pid: int) -> bool:
    """Whether it is known to have no children: a process with one thread, on a system that lists them."""
    try:
        if len(os.listdir(f"/proc/{pid}/task")) > 1:
            return False
        with open(f"/proc/{pid}/task/{pid}/children", "rb") as children:
            return not children.read()
    except OSError:
        return False


def moment(milliseconds: float) -> float:
    """A moment of the monotonic clock on the clock of `ProcessTable.started`, which goes on while the machine sleeps."""
    slept = time.clock_gettime(getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)) - time.monotonic()
    # A millisecond earlier, for the difference of the two readings.
    return int((milliseconds / 1000 + slept - 0.001) * _TICKS) / _TICKS


def send_signal(pid: int, number: int) -> None:
    """Sends a signal; a process that is gone or out of reach is none to complain about."""
    try:
        os.kill(pid, number)
    except OSError:
        pass
