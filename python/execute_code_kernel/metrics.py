"""What an execution used: wall time, CPU time with that of its children, and peak memory."""

from __future__ import annotations

from .private import builtins as __builtins__

import sys
from os import O_CLOEXEC, O_WRONLY
from os import close as _close
from os import open as _open
from os import write as _write
from resource import RUSAGE_CHILDREN, RUSAGE_SELF, getrusage
from time import perf_counter as _perf_counter

_RSS_UNIT = 1 if sys.platform == "darwin" else 1024
_RESET_PEAK = b"5"


class Meter:
    """Measures one execution at a time.

    The peak is that of the execution where Linux lets a process reset its high-water mark; elsewhere it is that of
    the kernel's life so far.
    """

    def __init__(self) -> None:
        self._start = self._cpu = 0.0

    def start(self) -> None:
        try:
            descriptor = _open("/proc/self/clear_refs", O_WRONLY | O_CLOEXEC)
            try:
                _write(descriptor, _RESET_PEAK)
            finally:
                _close(descriptor)
        except OSError:
            pass
        self._cpu = _cpu_seconds()
        self._start = _perf_counter()

    def stop(self) -> dict:
        """The metrics of a `done` frame."""
        duration = _perf_counter() - self._start
        own, children = getrusage(RUSAGE_SELF), getrusage(RUSAGE_CHILDREN)
        cpu = own.ru_utime + own.ru_stime + children.ru_utime + children.ru_stime - self._cpu
        return {
            "duration_ms": round(duration * 1000, 3),
            "cpu_ms": round(max(cpu, 0.0) * 1000, 3),
            "peak_memory_bytes": own.ru_maxrss * _RSS_UNIT,
        }


def _cpu_seconds() -> float:
    own, children = getrusage(RUSAGE_SELF), getrusage(RUSAGE_CHILDREN)
    return own.ru_utime + own.ru_stime + children.ru_utime + children.ru_stime
