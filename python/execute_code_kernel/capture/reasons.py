"""Why something cannot be captured or restored, in words that are safe to show: no code of a session's value is run."""

from __future__ import annotations

from ..private import builtins as __builtins__

from collections import deque
from types import CellType, FunctionType, MappingProxyType, MethodType

from ..previews import instance_dict, lookup, type_name

_CHARS = 300
_VISITED = 200_000
_SLOT = type(type("_", (), {"__slots__": ("x",)}).x)


class Refused(Exception):
    """A value that cannot be kept, or made again; the message is the reason."""


class TooLarge(Exception):
    """A limit of bytes is reached; the message tells which one."""


class TooSlow(BaseException):
    """A deadline has passed. No Exception, so that session code that catches those does not catch it."""


def describe(error: BaseException) -> str:
    """A reason that an exception gives. Only messages of Python's own exceptions are read."""
    kind = type(error)
    message = ""
    if getattr(kind, "__module__", "") in ("builtins", "_pickle", "pickle") or issubclass(kind, (Refused, TooLarge, TooSlow)):
        arguments = BaseException.args.__get__(error)
        if arguments and type(arguments[-1]) is str:
            message = arguments[-1]
    if issubclass(kind, (Refused, TooLarge, TooSlow)):
        return message
    if kind is TypeError and message.startswith("cannot pickle "):
        return message[:_CHARS]
    if issubclass(kind, RecursionError):
        return "it is nested too deeply"
    if issubclass(kind, MemoryError):
        return "there is not enough memory"
    return f"{type_name(kind)}: {message}"[:_CHARS] if message else type_name(kind)[:_CHARS]


def place(root, offender, name: str) -> str:
    """Where an object lies below a variable's value, as an expression: `x['rows'][3].file`; "" when it is the value
    itself or is not found. Looks at no more than 200,000 objects."""
    if offender is root:
        return name
    seen = {id(root)}
    waiting = deque([(root, name)])
    while waiting and len(seen) < _VISITED:
        value, path = waiting.popleft()
        for child, step in _parts(value):
            if child is offender:
                return (path + step)[:_CHARS]
            if id(child) not in seen:
                seen.add(id(child))
                waiting.append((child, path + step))
    return ""


def _parts(value):
    """What a value holds, with the steps that lead there."""
    kind = type(value)
    if kind is list or kind is tuple or kind is deque:
        return [(item, f"[{index}]") for index, item in enumerate(list(value))]
    if issubclass(kind, dict):
        found = []
        for key, item in list(dict.items(value)):
            found.append((item, f"[{_key(key)}]"))
            found.append((key, f" key {_key(key)}"))
        return found + _attributes(value)
    if issubclass(kind, (set, frozenset)):
        base = set if issubclass(kind, set) else frozenset
        return [(item, " item") for item in list(base.__iter__(value))]
    if kind is FunctionType:
        found = [(item, f".__defaults__[{index}]") for index, item in enumerate(value.__defaults__ or ())]
        found += [(cell, f".__closure__[{index}]") for index, cell in enumerate(value.__closure__ or ())]
        return found + [(value.__dict__, ".__dict__")]
    if kind is CellType:
        try:
            return [(value.cell_contents, "")]
        except ValueError:
            return []
    if kind is MethodType:
        return [(value.__self__, ".__self__"), (value.__func__, ".__func__")]
    if kind is property:
        return [(value.fget, ".fget"), (value.fset, ".fset"), (value.fdel, ".fdel")]
    if kind is staticmethod or kind is classmethod:
        return [(value.__func__, ".__func__")]
    if kind is MappingProxyType:
        return []
    if issubclass(kind, type):
        entries = list(type.__dict__["__dict__"].__get__(value).items())
        return [(item, f".{key}") for key, item in entries if type(key) is str]
    return _attributes(value)


def _attributes(value) -> list:
    attributes = instance_dict(value)
    found = [] if attributes is None else [(item, f".{key}") for key, item in list(attributes.items())]
    if attributes is not None:
        found.append((attributes, ".__dict__"))
    for base in type.__dict__["__mro__"].__get__(type(value)):
        for key, descriptor in list(type.__dict__["__dict__"].__get__(base).items()):
            if type(descriptor) is _SLOT:
                try:
                    found.append((descriptor.__get__(value), f".{key}"))
                except Exception:
                    pass  # Not set, or not of this kind of object.
    if lookup(type(value), "__iter__") is list.__iter__:
        found += [(item, f"[{index}]") for index, item in enumerate(list(list.__iter__(value)))]
    return found


def _key(key) -> str:
    if type(key) in (int, str, bool, float, bytes) or key is None:
        return repr(key)[:60]
    return "…"
