"""What an execution used: wall time, CPU time with that of its children, and peak memory."""

from __future__ import annotations

from .private import builtins as __builtins__

import sys
from fcntl import F_DUPFD_CLOEXEC, fcntl
from os import O_CLOEXEC, O_WRONLY, close
from os import open as _open
from os import write as _write
from resource import RUSAGE_CHILDREN, RUSAGE_SELF, getrusage
from time import perf_counter as _perf_counter
from time import process_time as _process_time

_RSS_UNIT = 1 if sys.platform == "darwin" else 1024
_RESET_PEAK = b"5"


class Meter:
    """Measures one execution at a time.

    The peak is that of the execution where Linux lets a process reset its high-water mark; elsewhere it is that of
    the kernel's life so far. Children count with the execution that follows their end, if they end between two.
    """

    def __init__(self, keep_above: int) -> None:
        self._start = self._cpu = self._children = 0.0
        self._reset = _open_reset(keep_above)

    def reopen(self, keep_above: int) -> None:
        """In a branch: measures that one."""
        if self._reset is not None:
            close(self._reset)
        self._reset = _open_reset(keep_above)
        self._children = 0.0

    def start(self) -> None:
        if self._reset is not None:
            try:
                _write(self._reset, _RESET_PEAK)
            except OSError:
                self._reset = None
        self._cpu = _process_time()
        self._start = _perf_counter()

    def stop(self, frame: dict) -> None:
        """Adds the metrics to a `done` frame."""
        duration = _perf_counter() - self._start
        own, children = getrusage(RUSAGE_SELF), getrusage(RUSAGE_CHILDREN)
        of_children = children.ru_utime + children.ru_stime
        cpu = own.ru_utime + own.ru_stime - self._cpu + of_children - self._children
        self._children = of_children
        frame["duration_ms"] = int(duration * 1e6) / 1000
        frame["cpu_ms"] = int(cpu * 1e6) / 1000 if cpu > 0.0 else 0.0
        frame["peak_memory_bytes"] = own.ru_maxrss * _RSS_UNIT


def _open_reset(keep_above: int):
    """A descriptor to which writing resets this process's high-water mark, or None."""
    try:
        opened = _open("/proc/self/clear_refs", O_WRONLY | O_CLOEXEC)
    except OSError:
        return None
    moved = fcntl(opened, F_DUPFD_CLOEXEC, keep_above)
    close(opened)
    return moved
