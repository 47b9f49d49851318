"""What the system grants a process and all that it starts."""

from __future__ import annotations

from .private import builtins as __builtins__

import os
import resource


def apply(limits: dict) -> None:
    """Sets hard limits, which nothing below can raise, and the processors and the priority. Raises OSError, ValueError."""
    for kind, value in (
        (resource.RLIMIT_DATA, limits["memory_bytes"]),
        (resource.RLIMIT_NPROC, limits["processes"]),
        (resource.RLIMIT_NOFILE, limits["files"]),
        (resource.RLIMIT_FSIZE, limits["file_bytes"]),
        (resource.RLIMIT_CORE, 0),
    ):
        if value is not None:
            resource.setrlimit(kind, (value, value))
    if limits["cpus"] is not None:
        usable = sorted(os.sched_getaffinity(0))
        os.sched_setaffinity(0, {usable[position % len(usable)] for position in limits["cpus"]})
    os.nice(limits["nice"])
