"""Memory that session code cannot have.

An address range that is never written costs nothing but counts for the limits. While it is held session code meets
its MemoryError early enough; when it is released, what the kernel has still to do has room.
"""

from __future__ import annotations

from .private import builtins as __builtins__

from mmap import MAP_ANONYMOUS, MAP_PRIVATE, mmap

_MOST = 8 * 1024 * 1024
_LEAST = 512 * 1024


class Reserve:
    """Holds as much as there is, up to 8 MiB.

    `release` is C's own, as a call of a function in Python needs memory for its frame; nothing is released twice.
    """

    def __init__(self) -> None:
        self._hold_new()

    def hold(self) -> None:
        if self.memory.closed:
            self._hold_new()

    def _hold_new(self) -> None:
        size = _MOST
        while size >= _LEAST:
            try:
                self.memory = mmap(-1, size, MAP_PRIVATE | MAP_ANONYMOUS)
            except (OSError, MemoryError):
                size //= 2
            else:
                self.release = self.memory.close
                return
