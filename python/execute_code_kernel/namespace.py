"""What an execution changed among the session's variables.

Every variable is remembered by its type, its identity and a fingerprint of its content, never by a reference, so
that watching keeps nothing alive. A fingerprint is bounded: variables that the cell mentions are looked at closely
(2,000 parts), the others briefly (48 parts). A change beyond the bound, or inside an object that keeps its state out
of sight, goes unnoticed. No code of a variable's type is run.
"""

from __future__ import annotations

from .private import builtins as __builtins__

import sys
from array import array
from collections import Counter, OrderedDict, defaultdict, deque
from itertools import islice
from types import BuiltinFunctionType, FunctionType, MethodType, ModuleType

from .previews import instance_dict, preview, tabular, type_name

_CLOSE = 2000
_BRIEF = 48
_DEPTH = 4
_LISTED = 200
_SAMPLE = 4096

_SCALARS = frozenset((int, float, bool, complex, type(None), str, bytes))
_FIXED = frozenset((FunctionType, BuiltinFunctionType, MethodType, type, range, slice, type(...)))
_SEQUENCES = frozenset((list, tuple, deque))
_SETS = frozenset((set, frozenset))
_MAPPINGS = frozenset((dict, defaultdict, OrderedDict, Counter))
_BYTES = frozenset((bytearray, array))


class Watch:
    """Knows the variables as they were after the last execution."""

    def __init__(self, namespace: dict) -> None:
        self._namespace = namespace
        self._known: dict[str, tuple] = {}
        self.changes(frozenset())

    def changes(self, mentioned) -> dict:
        """Variables added, changed and deleted since the last call; at most 200 of each kind."""
        known, self._known = self._known, {}
        added, changed = [], []
        for name, value in self._namespace.copy().items():
            if type(name) is not str or name[:1] == "_" or type(value) is ModuleType:
                continue
            before = known.get(name)
            now = _state(value, name in mentioned, before)
            self._known[name] = now
            if before is None:
                added.append((name, value))
            elif before != now and _differs(before, now):
                changed.append((name, value))
        deleted = [name for name in known if name not in self._known]
        return {
            "added": [_summary(*item) for item in added[:_LISTED]],
            "changed": [_summary(*item) for item in changed[:_LISTED]],
            "deleted": deleted[:_LISTED],
        }


def _summary(name: str, value) -> dict:
    return {"name": name, "type": type_name(type(value)), "preview": preview(value)}


def _state(value, close: bool, before) -> tuple:
    """Type, identity, fingerprint (both for scalars: what is equal is unchanged), and the bound it was made with."""
    kind = type(value)
    if kind in _SCALARS:
        return (kind, 0, _scalar(value, kind), None)
    if kind in _FIXED:
        return (kind, id(value), 0, None)
    brief = _fingerprint(value, _DEPTH, [_BRIEF])
    if close:
        return (kind, id(value), brief, _fingerprint(value, _DEPTH, [_CLOSE]))
    # What nobody mentioned keeps the close look of last time, when the brief one shows no change.
    kept = before[3] if before is not None and before[:3] == (kind, id(value), brief) else None
    return (kind, id(value), brief, kept)


def _differs(before: tuple, now: tuple) -> bool:
    if before[:3] != now[:3]:
        return True
    return before[3] is not None and now[3] is not None and before[3] != now[3]


def _scalar(value, kind: type):
    if kind is str or kind is bytes:
        if len(value) <= 200:
            return value
        return (len(value), hash(value)) if len(value) <= 1_000_000 else (len(value), value[:500], value[-500:])
    if kind is int and value.bit_length() > 4096:
        return hash(value)
    return value if value == value else "nan"


def _fingerprint(value, depth: int, budget: list) -> int:
    """A number that changes with the value's content, as far as `budget` parts reach."""
    kind = type(value)
    budget[0] -= 1
    if kind in _SCALARS:
        return hash((kind, _scalar(value, kind)))
    if kind in _FIXED or budget[0] <= 0:
        return id(value)
    if kind in _SEQUENCES:
        length = len(value)
        if depth == 0:
            return hash((kind, length))
        items = _ends(value, length, budget[0])
        # Ordinary numbers and texts are compared in one step.
        if _SCALARS.issuperset(map(type, items)) and all([len(item) <= 200 for item in items if type(item) in (str, bytes)]):
            budget[0] -= len(items)
            return hash((kind, length, tuple(items), tuple(map(type, items))))
        return hash((kind, length, *[_fingerprint(item, depth - 1, budget) for item in items]))
    if kind in _MAPPINGS:
        if depth == 0:
            return hash((kind, len(value)))
        parts = [kind, len(value)]
        for key, item in _pairs(value, budget[0]):
            parts.append(_fingerprint(key, 1, budget))
            parts.append(_fingerprint(item, depth - 1, budget))
        return hash(tuple(parts))
    if kind in _SETS:
        items = list(islice(value, max(budget[0], 1)))
        budget[0] -= len(items)
        total = 0
        for item in items:
            total ^= _fingerprint(item, 0, [1]) * 0x9E3779B1
        return hash((kind, len(value), total))
    if kind in _BYTES:
        view = memoryview(value).cast("B")
        return hash((kind, len(view), bytes(view[:_SAMPLE]), bytes(view[-_SAMPLE:])))
    table = tabular(value)
    if table is not None:
        return hash((id(value), tuple(table[0]), table[1], _table_content(value, budget)))
    attributes = instance_dict(value)
    if attributes is None or depth == 0:
        return id(value)
    parts = [id(value), len(attributes)]
    for name, item in _pairs(attributes, budget[0]):
        parts.append(_fingerprint(name, 0, budget))
        parts.append(_fingerprint(item, depth - 1, budget))
    return hash(tuple(parts))


def _ends(value, length: int, bound: int) -> list:
    """All items, or as many as the bound allows from both ends. A copy: other threads may change the container."""
    bound = max(bound, 2)
    if length <= bound:
        return list(value)
    half = bound // 2
    if type(value) is deque:
        return [*islice(value, half), *islice(reversed(value), half)]
    return [*value[:half], *value[-half:]]


def _pairs(mapping, bound: int) -> list:
    """Pairs from both ends of a mapping: what is added last lies at the end."""
    bound = max(bound // 2, 2)
    items = dict.items(mapping)
    if len(mapping) <= bound:
        return list(items)
    return [*islice(items, bound // 2), *islice(reversed(items), bound // 2)]


def _table_content(value, budget: list) -> int:
    """A fingerprint of an array's or a table's cells: a sample of the memory behind it."""
    numpy = sys.modules.get("numpy")
    array_type = getattr(numpy, "ndarray", None)
    if array_type is None:
        return 0
    try:
        arrays = _arrays(value, array_type)
        content = []
        for block in arrays[:32]:
            content.append(id(block) if type(block) is not array_type else 0)
            if not isinstance(block, array_type):
                continue
            if block.dtype.hasobject:
                flat = block.reshape(-1)
                content.append(tuple([_fingerprint(item, 1, budget) for item in _ends(flat, block.size, budget[0])]))
                continue
            wanted = _SAMPLE if budget[0] > _BRIEF else 512
            step = max(block.size * block.itemsize // wanted, 1)
            sample = block.reshape(-1)[::step] if block.flags.c_contiguous else block.T.reshape(-1)[::step]
            content.append(hash(sample.tobytes()))
        return hash(tuple(content))
    except Exception:
        return 0


def _arrays(value, array_type) -> list:
    """The arrays that hold a value's cells."""
    if isinstance(value, array_type):
        return [value]
    manager = (instance_dict(value) or {}).get("_mgr")
    if manager is None:
        return []
    # A table's columns have names of their own, beside the blocks that hold the cells.
    blocks = [block.values for block in manager.blocks]
    return [*blocks, *[axis for axis in manager.axes]]
