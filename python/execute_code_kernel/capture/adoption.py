"""Definitions of a capture that something else has made anew: a cell that ran again has made the class whose objects the
capture holds. The capture's content goes into them, so that there is one of each.

    adopt(registry, known, head_of, key, value)        the definition of this key, and what is found in it

Found in it are a function's closure cells and the functions that they hold or that it wraps, a class's bases, methods
and inner classes. Where several definitions share a name, the capture numbers them as it met them, and none is taken but
for a class's bases: their keys are in its head.
"""

from __future__ import annotations

from ..private import builtins as __builtins__

from pickletools import genops
from types import CellType, FunctionType

from ..sharing import is_definition
from .reasons import Refused
from .registry import class_label, function_label

_dict_of = type.__dict__["__dict__"].__get__
_bases_of = type.__dict__["__bases__"].__get__
_WRAPPERS = (staticmethod, classmethod)
_SMALL = 1_000
"""Bytes; what only names a definition has fewer."""


def named_by(pickled: bytes) -> str | None:
    """The key of the definition that a pickle is nothing but a reference to, or None."""
    if len(pickled) > _SMALL:
        return None
    steps = [(step.name, argument) for step, argument, _ in genops(pickled) if step.name not in ("PROTO", "FRAME", "MEMOIZE")]
    names = [name for name, _ in steps]
    return steps[0][1] if names[1:] == ["BINPERSID", "STOP"] else None


def adopt(registry, known, head_of, key: str, value) -> set:
    """Registers a definition under its key, and others that are found in it; gives their keys. `known` has the
    capture's keys, `head_of(key)` gives a head's pickle."""
    adopted: set = set()
    waiting = [(key, value)]
    while waiting:
        key, value = waiting.pop()
        if key in registry.values or key not in known:
            continue
        if (type(value) is FunctionType) != (key[:2] == "f:"):
            continue
        registry.adopt(key, value)
        adopted.add(key)
        if key[:2] == "f:":
            cells = [(f"x:{index}:{key[2:]}", cell) for index, cell in enumerate(value.__closure__ or ())]
            for name, cell in cells:
                if name in known:
                    registry.adopt(name, cell)
            parts = [*map(_content, [cell for _, cell in cells]), value.__dict__.get("__wrapped__")]
        else:
            try:
                waiting += _paired(value, head_of(key))
            except Refused:
                pass  # It is lost, and will be told as such.
            parts = [*_bases_of(value), *map(_unwrapped, _dict_of(value).values())]
            parts += [part for one in _dict_of(value).values() if type(one) is property for part in (one.fget, one.fset, one.fdel)]
        waiting += _labelled(known, parts)
    return adopted


def _paired(kind: type, head: bytes) -> list:
    """The bases of a class with their keys, which a head has in the same order, after the metaclass's."""
    keys = _keys_in(head)
    if keys[:1] == [class_label(type(kind))]:
        del keys[0]
    found = []
    for base in _bases_of(kind):
        key = next((key for key in keys if key.partition("#")[0] == class_label(base)), None)
        if key is not None:
            keys.remove(key)
            found.append((key, base))
    return found


def _keys_in(pickled: bytes) -> list:
    """The keys that a pickle refers to, in its order."""
    found, texts, last = [], [], None
    for step, argument, _ in genops(pickled):
        if step.name == "MEMOIZE":
            texts.append(last)
        elif step.name in ("BINGET", "LONG_BINGET"):
            last = texts[argument]
        elif step.name == "BINPERSID":
            found.append(last)
        else:
            last = argument if type(argument) is str else None
    return found


def _labelled(known, parts: list) -> list:
    found: dict = {}
    for part in parts:
        if is_definition(part):
            label = function_label(part) if type(part) is FunctionType else class_label(part)
            found.setdefault(label, {})[id(part)] = part
    return [(label, *same.values()) for label, same in found.items() if len(same) == 1 and f"{label}#2" not in known]


def _unwrapped(value):
    return value.__func__ if type(value) in _WRAPPERS else value


def _content(cell: CellType):
    try:
        return cell.cell_contents
    except ValueError:
        return None  # It is empty.
