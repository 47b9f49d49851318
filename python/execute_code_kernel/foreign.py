"""Calls that no audit event tells of: which names of an execution may have led out of Python, judged by what the session
has under them. What only some executions need."""

from __future__ import annotations

from .private import builtins as __builtins__

from types import FunctionType, ModuleType

from .previews import instance_dict
from .sources import execution_of

_PLAIN = frozenset((bool, int, float, complex, str, bytes, type(None)))
"""Types of values that can hold nothing to be called."""
_ITEMS = 100
"""So many items of a container are looked at."""


def not_own(names: list, reached: set, namespace: dict) -> list:
    """Those of the names that may mean something else than a function of a cell, whose own effects are heard, or a plain
    value. `reached` has a dot before names that were found as attributes, or elsewhere than in cells."""
    return [name for name in names if f".{name}" in reached or name not in namespace or not _is_own(namespace[name])]


def _is_own(value) -> bool:
    if type(value) is FunctionType:
        return execution_of(value.__code__.co_filename) is not None
    return type(value) in _PLAIN


def names_of_c(reached: set, namespace: dict, known: frozenset) -> tuple[list, frozenset]:
    """Of what an execution reached: names of libraries and functions of `ctypes`; and all variables that are such now.
    `known` are those that were so before it."""
    variables = frozenset([name for name, value in namespace.copy().items() if type(name) is str and _is_of_c(value)])
    found = {name for name in reached if name in known or name in variables or name == "pythonapi"}
    for name in reached - found:
        if name in namespace:
            found.update(_parts_of_c(name, namespace[name], reached))
    return sorted(found), variables


def _parts_of_c(name: str, value, reached: set) -> list:
    """The same for what a module, an object or a container holds."""
    kind = type(value)
    if kind is list or kind is tuple or kind is set or kind is frozenset:
        return [name] if any([_is_of_c(item) for item, _ in zip(value, range(_ITEMS))]) else []
    if kind is dict:
        return [name] if any([_is_of_c(item) for item, _ in zip(value.values(), range(_ITEMS))]) else []
    held = vars(value) if kind is ModuleType else instance_dict(value)
    return [one for one in reached if _is_of_c(held.get(one))] if held else []


def _is_of_c(value) -> bool:
    from _ctypes import CFuncPtr
    from ctypes import CDLL

    return issubclass(type(value), (CFuncPtr, CDLL))
