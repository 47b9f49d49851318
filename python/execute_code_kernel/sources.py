"""The source text of cells, for tracebacks, `inspect.getsource` and later looks at functions.

Cells are files to Python: `<exec_…>`. Their lines lie in `linecache` without a modification time, so that
`checkcache` keeps them; what session code clears from there is put back when it is looked for.
"""

from __future__ import annotations

from .private import builtins as __builtins__

import linecache
from collections import deque
from types import CodeType

_BYTES = 16 * 1024 * 1024
_EACH = 512
"""What a cell takes beside its text."""
_PASSING = 1_000


class Sources:
    """The newest cells by file name, up to 16 MiB; older ones are forgotten. Of cells that define nothing, which only
    tracebacks show, the newest 1,000."""

    def __init__(self) -> None:
        self._entries: dict[str, tuple] = {}
        self._bytes = 0
        self._passing: deque[str] = deque()

    def add(self, execution: str, code: str) -> str:
        """Keeps a cell's text; returns its file name."""
        name = file_name(execution)
        lines = code.splitlines(True)
        if lines and not lines[-1].endswith("\n"):
            lines[-1] += "\n"
        entry = (len(code), None, lines, name)
        if name in self._entries:
            self._forget(name)
        self._entries[name] = entry
        self._publish(name, entry)
        self._bytes += len(code) + _EACH
        while self._bytes > _BYTES and len(self._entries) > 1:
            self._forget(next(iter(self._entries)))
        return name

    def settle(self, name: str, codes: list) -> None:
        """What the cell of this name was compiled to: whether something of it can be left when it is over."""
        for code in codes:
            for constant in code.co_consts:
                if type(constant) is CodeType:
                    return
        self._passing.append(name)
        if len(self._passing) > _PASSING:
            self._forget(self._passing.popleft())

    def forget(self, execution: str) -> None:
        """As if there had been no such cell."""
        name = file_name(execution)
        self._forget(name)
        self._passing = deque([passing for passing in self._passing if passing != name])

    def _forget(self, name: str) -> None:
        entry = self._entries.pop(name, None)
        if entry is not None:
            self._bytes -= entry[0] + _EACH
            self._publish(name, None)

    @staticmethod
    def _publish(name: str, entry) -> None:
        """Tells `linecache`, as long as session code has left it one."""
        cache = linecache.cache
        if type(cache) is not dict:
            return
        if entry is None:
            cache.pop(name, None)
        else:
            cache[name] = entry

    def install(self) -> None:
        """Has `linecache` find what session code cleared from it."""
        update = linecache.updatecache

        def updatecache(filename, module_globals=None):
            entry = self._entries.get(filename)
            if entry is None:
                return update(filename, module_globals)
            self._publish(filename, entry)
            return entry[2]

        linecache.updatecache = updatecache

    def lines(self, name: str):
        """A cell's lines, or None when the file name is no remembered cell's."""
        entry = self._entries.get(name)
        return None if entry is None else entry[2]

    def newest_first(self):
        """File names and lines of all remembered cells."""
        for name in reversed(self._entries):
            yield name, self._entries[name][2]


def file_name(execution: str) -> str:
    return f"<{execution}>"


def execution_of(name: str) -> str | None:
    """The execution whose cell has this file name, or None."""
    return name[1:-1] if name.startswith("<exec_") and name.endswith(">") else None
