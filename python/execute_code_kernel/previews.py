"""Short texts of values, made without running any code of theirs."""

from __future__ import annotations

from .private import builtins as __builtins__

import sys
from itertools import islice
from types import BuiltinFunctionType, FunctionType, GetSetDescriptorType, MethodType, ModuleType

_type_name = type.__dict__["__name__"].__get__
_type_mro = type.__dict__["__mro__"].__get__
_type_dict = type.__dict__["__dict__"].__get__

PREVIEW_CHARS = 80
LARGEST = 2**53 - 1
"""The largest integer that JavaScript holds exactly; counts beyond it are given as this one."""
_ITEMS = 20
_DEPTH = 3
_BRACKETS = {list: ("[", "]"), tuple: ("(", ")"), set: ("{", "}"), frozenset: ("frozenset({", "})")}

# Types of well-known libraries whose attributes may be read: module, its names, where their shape is.
_TABULAR = {
    "numpy": ("ndarray",),
    "pandas": ("DataFrame", "Series", "Index"),
    "polars": ("DataFrame", "Series"),
    "torch": ("Tensor",),
    "jax": ("Array",),
}


def type_name(kind: type) -> str:
    """A type's own name, whatever its metaclass says."""
    return _type_name(kind)


def module_name(kind: type) -> str | None:
    for base in _type_mro(kind)[:1]:
        module = _type_dict(base).get("__module__")
        if type(module) is str:
            return module
    # Built-in types keep theirs elsewhere.
    module = type.__dict__["__module__"].__get__(kind) if type(kind) is type else None
    return module if type(module) is str else None


def lookup(kind: type, name: str):
    """What a type or its bases define under a name, or None; no instance and no metaclass is asked."""
    for base in _type_mro(kind):
        namespace = _type_dict(base)
        if name in namespace:
            return namespace[name]
    return None


def is_type(value) -> bool:
    """Whether a value is a class. `isinstance` would ask the value."""
    return issubclass(type(value), type)


def instance_dict(value) -> dict | None:
    """An object's attributes, when it keeps them in an ordinary dictionary."""
    descriptor = lookup(type(value), "__dict__")
    if type(descriptor) is not GetSetDescriptorType:
        return None
    try:
        attributes = descriptor.__get__(value)
    except Exception:
        return None
    return attributes if type(attributes) is dict else None


def tabular(value) -> tuple | None:
    """Shape and dtype of an array or a table of a known library, or None."""
    kind = type(value)
    module = (module_name(kind) or "").partition(".")[0]
    names = _TABULAR.get(module)
    if names is None or type(sys.modules.get(module)) is not ModuleType:
        return None
    loaded = vars(sys.modules[module])
    bases = _type_mro(kind)
    if not any([loaded.get(name) in bases for name in names if isinstance(loaded.get(name), type)]):
        return None
    try:
        shape = [min(int(extent), LARGEST) for extent in islice(value.shape, 32)]
        dtype = getattr(value, "dtype", None)
        return shape, None if dtype is None else str(dtype)[:100]
    except Exception:
        return None


def preview(value, limit: int = PREVIEW_CHARS) -> str:
    """At most `limit` characters that tell what a value is."""
    try:
        text = "".join(_parts(value, _DEPTH, [limit + 1]))
    except Exception:
        text = f"<{type_name(type(value))} object>"
    # A preview is one line of printable text.
    if not text.isprintable():
        text = "".join([character if character.isprintable() else " " for character in text])
    return text if len(text) <= limit else text[: limit - 1] + "…"


def _parts(value, depth: int, budget: list):
    """Pieces of the preview; ends early when `budget` characters have been given."""
    if budget[0] <= 0:
        return
    kind = type(value)
    brackets = _BRACKETS.get(kind)
    if brackets is None and kind is not dict:
        text = _leaf(value, kind, budget[0])
        budget[0] -= len(text)
        yield text
        return
    if kind is dict:
        brackets = ("{", "}")
    elif not value and kind in (set, frozenset):
        yield f"{kind.__name__}()"
        return
    opening, closing = brackets
    budget[0] -= len(opening)
    yield opening
    if depth == 0 and value:
        yield "…"
    else:
        first = True
        # A copy of the few items shown: another thread may be changing the container.
        for item in list(islice(value.items() if kind is dict else value, _ITEMS)):
            if not first:
                budget[0] -= 2
                yield ", "
            first = False
            if kind is dict:
                yield from _parts(item[0], depth - 1, budget)
                yield ": "
                budget[0] -= 2
                yield from _parts(item[1], depth - 1, budget)
            else:
                yield from _parts(item, depth - 1, budget)
            if budget[0] <= 0:
                return
        if len(value) > _ITEMS:
            yield ", …"
        elif kind is tuple and len(value) == 1:
            yield ","
    yield closing


def _leaf(value, kind: type, limit: int) -> str:
    if kind is str:
        return repr(value) if len(value) <= limit else repr(value[:limit])[:-1] + "…"
    if kind is bytes or kind is bytearray:
        return repr(value) if len(value) <= limit else repr(value[:limit])[:-1] + "…"
    if kind is int:
        bits = value.bit_length()
        return repr(value) if bits <= 512 else f"<int of {bits} bits>"
    if value is None or kind in (bool, float, complex, range, slice, type(...), type(NotImplemented)):
        return repr(value)
    if kind is FunctionType:
        return f"<function {value.__name__}>"
    if kind is MethodType:
        return f"<method {getattr(value.__func__, '__name__', '?') if type(value.__func__) is FunctionType else '?'}>"
    if kind is BuiltinFunctionType:
        return f"<built-in {value.__name__}>"
    if issubclass(kind, type):
        return f"<class {type_name(value)}>"
    if kind is ModuleType:
        name = vars(value).get("__name__")
        return f"<module {name}>" if type(name) is str else "<module>"
    name = type_name(kind)
    table = tabular(value)
    if table is not None:
        shape, dtype = table
        return f"<{name} {'×'.join(map(str, shape)) or 'scalar'}{' ' + dtype if dtype else ''}>"
    fields = _fields(value, kind, limit)
    return f"<{name} object>" if fields is None else fields


def _fields(value, kind: type, limit: int) -> str | None:
    """A dataclass with its fields, as its generated repr would show them."""
    declared = lookup(kind, "__dataclass_fields__")
    attributes = instance_dict(value)
    if type(declared) is not dict or attributes is None:
        return None
    shown = []
    for name in list(islice(declared, 8)):
        if type(name) is str and name in attributes:
            item = attributes[name]
            shown.append(f"{name}={''.join(_parts(item, 1, [limit // 2]))}")
    return f"{type_name(kind)}({', '.join(shown)}{', …' if len(declared) > 8 else ''})"
