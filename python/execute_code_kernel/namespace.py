"""What an execution changed among the session's variables.

Every variable is remembered by its type, its identity and a fingerprint of its content, never by a reference, so
that watching keeps nothing alive. Variables that the cell mentions are looked at closely, the others briefly.
"""

from __future__ import annotations

from .private import builtins as __builtins__

from marshal import dumps as _exactly
from types import ModuleType

from .fingerprints import BRIEF, CLOSE, DEPTH, FIXED, NUMBERS, TEXTS, fingerprint, fingerprint_of_items, fingerprint_of_text
from .previews import preview, type_name

_LISTED = 10_000
"""So many of a kind an execution tells of; a restore relies on it."""
_PREVIEWED = 200
_KEPT_CHARS = 200
_NEW = object()


class Watch:
    """Knows the variables as they were after the last execution."""

    def __init__(self, namespace: dict) -> None:
        self._namespace = namespace
        self._known: dict = {}
        """By name: a small scalar itself, else a tuple of type, identity, brief and close fingerprint."""
        self.changes(frozenset())

    def changes(self, mentioned) -> dict:
        """Variables added, changed and deleted since the last call: at most 10,000 of each kind, the first 200 with
        previews."""
        known = self._known
        now = self._namespace.copy()
        added, changed = [], []
        for name, value in now.items():
            before = known.get(name, _NEW)
            if before is value:
                continue
            if type(name) is not str or name[:1] == "_" or type(value) is ModuleType:
                known.pop(name, None)
                continue
            state = _state(value, before, name in mentioned)
            if before is _NEW:
                added.append((name, value))
            elif state is before:
                continue
            elif _differs(before, state):
                changed.append((name, value))
            known[name] = state
        deleted = [] if known.keys() <= now.keys() else [name for name in known if name not in now]
        for name in deleted:
            del known[name]
        added, changed = map(_summaries, (added, changed))
        return {"added": added, "changed": changed, "deleted": deleted[:_LISTED]}


def _summaries(variables: list) -> list[dict]:
    summaries = []
    for name, value in variables[:_LISTED]:
        text = preview(value) if len(summaries) < _PREVIEWED else ""
        summaries.append({"name": name, "type": type_name(type(value)), "preview": text})
    return summaries


def _state(value, before, close: bool):
    """What is remembered of a value. Scalars that are equal are unchanged, whoever bound them."""
    kind = type(value)
    kind_id = id(kind)
    budget = [BRIEF]
    identity = id(value)
    if kind is list or kind is dict:
        brief = fingerprint_of_items(value, kind, kind, DEPTH, budget)
    elif kind_id in TEXTS:
        return value if len(value) <= _KEPT_CHARS else (kind_id, 0, fingerprint_of_text(value), None)
    elif kind_id in NUMBERS:
        return value if kind is not int or value.bit_length() <= 4096 else (kind_id, 0, hash(value), None)
    elif kind_id in FIXED:
        return (kind_id, identity, 0, None)
    else:
        brief = fingerprint(value, DEPTH, budget)
    if close and budget[0] <= 0:
        return (kind_id, identity, brief, fingerprint(value, DEPTH, [CLOSE]))
    # What nobody mentioned keeps the close look of last time, as long as the brief one shows no change.
    if type(before) is tuple and before[0] == kind_id and before[1] == identity and before[2] == brief:
        return before
    return (kind_id, identity, brief, None)


def _differs(before, now) -> bool:
    if type(before) is not tuple or type(now) is not tuple:
        kind = type(now)
        if kind is float or kind is complex:  # 0.0 is equal to -0.0, and NaN is not to itself.
            return type(before) is not kind or _exactly(before, 2) != _exactly(now, 2)
        return type(before) is not kind or before != now
    if before[:3] != now[:3]:
        return True
    return before[3] is not None and now[3] is not None and before[3] != now[3]
