"""Which variables have objects in common that can change: where one of them is made anew and the other comes from a
capture, these are two objects afterwards. Who has a weak reference to an object has it in common with its holders."""

from __future__ import annotations

from .private import builtins as __builtins__

from gc import get_referents
from types import (
    BuiltinFunctionType,
    FrameType,
    FunctionType,
    GetSetDescriptorType,
    MemberDescriptorType,
    MethodType,
    ModuleType,
)

from _weakref import getweakrefcount, getweakrefs

from .previews import lookup, module_name, type_name

_flags_of = type.__dict__["__flags__"].__get__
_dict_of = type.__dict__["__dict__"].__get__
_bases_of = type.__dict__["__bases__"].__get__
_COLLECTED = 1 << 14
"""The flag of types whose objects may lead to others. Source: Py_TPFLAGS_HAVE_GC."""
_FIXED = (tuple, frozenset, FunctionType, MethodType, BuiltinFunctionType, property, classmethod, staticmethod)
"""They lead to others, and do not change."""
_LAYOUT = (GetSetDescriptorType, MemberDescriptorType)
_LOOKED_AT = 1_000_000
"""So many objects of one set are looked at."""


def in_common(values, others: dict, apart: set, one: set) -> set:
    """The names among `others`, variables by name, that share objects with one of these values. Modules and classes of
    modules are no such objects; a function's globals lead nowhere, nor does what has one of the identities `apart`.
    Functions and classes of `one` are the others' in any case."""
    known = changeable(values, apart)

    def is_common(value, _) -> bool:
        return id(value) in known or (_is_watched(value) and not known.isdisjoint(map(id, getweakrefs(value))))

    return {name for name, value in others.items() if _meets([value], apart | one, is_common)}


def changeable(values, apart: set, bound: int = _LOOKED_AT) -> set:
    """The identities of the objects that these values lead to, and that can change; of so many at most."""
    found: set = set()
    _meets(values, apart, lambda value, changes: (changes and found.add(id(value))) or len(found) >= bound)
    return found


def reached(values, wanted) -> list:
    """The objects that these values lead to, and of which `wanted(object)` is true."""
    found: list = []
    _meets(values, set(), lambda value, _: wanted(value) and found.append(value))
    return found


def has_finalizer(value) -> bool:
    """Whether it leads to an object of a cell's class that does something at its end, or somebody is told of that."""
    return _meets([value], set(), lambda one, _: lookup(type(one), "__del__") is not None or _is_watched(one))


def _is_watched(value) -> bool:
    """Whether there are weak references to it; a class's bases have one to each class."""
    return getweakrefcount(value) > 0 and not issubclass(type(value), type)


def is_definition(value) -> bool:
    """Whether it is a function or a class."""
    return type(value) is FunctionType or issubclass(type(value), type)


def leads_to(value, identities) -> set:
    """Those of some identities to which an object leads."""
    found: set = set()
    _meets([value], set(), lambda one, _: id(one) in identities and found.add(id(one)))
    return found


def _meets(values, apart: set, on) -> bool:
    """Whether `on(value, changes)` is true of an object that can be reached; it is asked until it says so. `changes`:
    whether the object can."""
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
        if on(value, changes):
            return True
        if leads is not None:
            waiting += leads(value)
    return False


def _way(kind: type) -> tuple:
    """What gives the objects that one of this type leads to, or None, and whether it can change."""
    if issubclass(kind, type):
        return _of_class, False
    if kind is ModuleType or kind is FrameType:
        return None, False
    if kind is FunctionType:
        return _of_function, False
    if module_name(kind) == "weakref" and type_name(kind) == "finalize":
        return _of_finalizer, True
    if lookup(kind, "__array_interface__") is not None:
        return _of_array, True
    if _flags_of(kind) & _COLLECTED:
        return get_referents, kind not in _FIXED
    return None, kind is bytearray


def _of_class(kind: type) -> list:
    """A class's attributes, when it is a cell's, and its bases."""
    if module_name(kind) != "__main__":
        return []
    return [*_bases_of(kind), *[value for value in list(_dict_of(kind).values()) if type(value) not in _LAYOUT]]


def _of_function(function: FunctionType) -> list:
    return [function.__closure__, function.__defaults__, function.__kwdefaults__, function.__dict__]


def _of_finalizer(finalizer) -> list:
    """What its class keeps of it: the weak reference, and what it will call."""
    return [lookup(type(finalizer), "_registry").get(finalizer)]


def _of_array(array) -> list:
    """An array does not tell the collector whose memory it has."""
    return [getattr(array, "base", None), *get_referents(array)]
