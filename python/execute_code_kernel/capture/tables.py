"""pandas' tables that shared memory until one of them was written to.

Since pandas 3 a selection shares its table's memory, and whoever is written to first gets a copy: tables know of each
other by weak references, which no pickle holds. Restored, they would share memory without knowing, and a change of one
would show in the other. What each has is its own by what pandas promises: so each gets memory of its own.
"""

from __future__ import annotations

from ..private import builtins as __builtins__

from ..previews import derives, instance_dict, offered
from ..private import MODULES
from ..sharing import reached

_FIRST = 3
"""The first version of pandas that copies on write whatever is set."""


def part(values) -> None:
    """Gives tables and columns that these values lead to memory of their own, where one of them has it already."""
    if not _copies_on_write():
        return
    index, table, column = [offered("pandas", name) for name in ("Index", "DataFrame", "Series")]
    found = reached(values, lambda value: any([derives(type(value), kind) for kind in (index, table, column)]))
    owned: set = set()
    # An index never changes: what else has its memory is copied.
    for one in sorted(found, key=lambda one: not derives(type(one), index)):
        if derives(type(one), index):
            values = (instance_dict(one) or {}).get("_data")  # Some have none, or would make it now.
            if values is not None:
                owned.add(_memory(values))
            continue
        memory = {_memory(block.values) for block in one._mgr.blocks}
        if not memory.isdisjoint(owned):
            one._mgr = one._mgr.copy(deep=True)
        owned |= memory


def _copies_on_write() -> bool:
    pandas = MODULES.get("pandas")
    version = getattr(pandas, "__version__", None)
    return type(version) is str and version.split(".")[0].isdigit() and int(version.split(".")[0]) >= _FIRST


def _memory(values):
    """What stands for the memory that an array, or pandas' own array around one, lies in."""
    array = getattr(values, "_ndarray", values)
    base = getattr(array, "base", None)
    while type(base) is type(array):
        array, base = base, base.base
    return id(array if base is None else base)
