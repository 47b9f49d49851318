"""Which variables have objects in common that can change: where one of them is made anew and the other comes from a
capture, these are two objects afterwards."""

from __future__ import annotations

from .private import builtins as __builtins__

from gc import get_referents
from types import BuiltinFunctionType, FrameType, FunctionType, MethodType, ModuleType

from .previews import lookup

_flags_of = type.__dict__["__flags__"].__get__
_COLLECTED = 1 << 14
"""The flag of types whose objects may lead to others. Source: Py_TPFLAGS_HAVE_GC."""
_FIXED = (tuple, frozenset, FunctionType, MethodType, BuiltinFunctionType, property, classmethod, staticmethod)
"""They lead to others, and do not change."""
_APART = (type, ModuleType, FrameType)
_LOOKED_AT = 1_000_000
"""So many objects of one set are looked at."""


def in_common(values, others: dict, apart: set) -> set:
    """The names among `others`, variables by name, that share objects with one of these values. Modules and classes are
    no such objects, nor what has one of the identities `apart`; a function's globals lead nowhere."""
    known: set = set()
    _meets(values, apart, lambda value: known.add(id(value)))
    return {name for name, value in others.items() if _meets([value], apart, lambda one: id(one) in known)}


def _meets(values, apart: set, on) -> bool:
    """Whether `on` is true of an object that can be reached and can change; it is asked until it says so."""
    seen = set(apart)
    ways: dict = {}
    waiting = list(values)
    while waiting and len(seen) < _LOOKED_AT:
        value = waiting.pop()
        if id(value) in seen:
            continue
        kind = type(value)
        if kind not in ways:
            ways[kind] = _way(kind)
        leads, changes = ways[kind]
        if leads is None and not changes:
            continue
        seen.add(id(value))
        if changes and on(value):
            return True
        if leads is not None:
            waiting += leads(value)
    return False


def _way(kind: type) -> tuple:
    """What gives the objects that one of this type leads to, or None, and whether it can change."""
    if issubclass(kind, _APART):
        return None, False
    if kind is FunctionType:
        return _of_function, False
    if lookup(kind, "__array_interface__") is not None:
        return _of_array, True
    if _flags_of(kind) & _COLLECTED:
        return get_referents, kind not in _FIXED
    return None, kind is bytearray


def _of_function(function: FunctionType) -> list:
    return [function.__closure__, function.__defaults__, function.__kwdefaults__, function.__dict__]


def _of_array(array) -> list:
    """An array does not tell the collector whose memory it has."""
    return [getattr(array, "base", None), *get_referents(array)]
