"""Short texts of values, made without running any code of theirs."""

from __future__ import annotations

from .private import builtins as __builtins__

from itertools import islice
from types import (
    BuiltinFunctionType,
    FunctionType,
    GetSetDescriptorType,
    MemberDescriptorType,
    MethodDescriptorType,
    MethodType,
    ModuleType,
    WrapperDescriptorType,
)

from .private import MODULES

_type_name = type.__dict__["__name__"].__get__
_type_mro = type.__dict__["__mro__"].__get__
_type_dict = type.__dict__["__dict__"].__get__

PREVIEW_CHARS = 80
LARGEST = 2**53 - 1
"""The largest integer that JavaScript holds exactly; counts beyond it are given as this one."""
_ITEMS = 20
_DEPTH = 3
_WRITTEN = frozenset((type(None), bool, float, complex, range, slice, type(...), type(NotImplemented)))
"""Types whose repr is C code, and short."""
_BRACKETS = {list: ("[", "]"), tuple: ("(", ")"), set: ("{", "}"), frozenset: ("frozenset({", "})")}

# Classes of well-known libraries that hold cells: their names, and the modules that offer them.
_TABULAR = {
    "ndarray": ("numpy",),
    "DataFrame": ("pandas", "polars"),
    "Series": ("pandas", "polars"),
    "Index": ("pandas",),
    "Tensor": ("torch",),
    "Array": ("jax",),
}
_LIBRARIES = frozenset(("numpy", "pandas", "polars", "torch", "jaxlib"))
_ZONE_METHODS = ("utcoffset", "dst", "tzname", "fromutc", "__str__", "__repr__", "__getattribute__", "__getattr__")
_ZONE_MODULES = frozenset(("datetime", "zoneinfo", "pytz", "dateutil"))


def type_name(kind: type) -> str:
    """A type's own name, whatever its metaclass says."""
    name = _type_name(kind)
    return name if type(name) is str else str.__str__(name)


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


def derives(kind: type, base) -> bool:
    """Whether a class is another or derives from it, whatever its metaclass says."""
    return any([one is base for one in _type_mro(kind)])


def is_type(value) -> bool:
    """Whether a value is a class. `isinstance` would ask the value."""
    return issubclass(type(value), type)


def instance_dict(value) -> dict | None:
    """An object's attributes, when it keeps them in an ordinary dictionary. What modules hold are no attributes of theirs."""
    if issubclass(type(value), ModuleType):
        return None
    descriptor = lookup(type(value), "__dict__")
    if type(descriptor) is not GetSetDescriptorType and type(descriptor) is not MemberDescriptorType:
        return None
    try:
        attributes = descriptor.__get__(value)
    except Exception:
        return None
    return attributes if type(attributes) is dict else None


def offered(module: str, name: str):
    """What an imported module holds under a name, or None."""
    loaded = MODULES.get(module)
    return vars(loaded).get(name) if type(loaded) is ModuleType else None


def library(kind: type) -> str | None:
    """The library whose own class this is: its top-level module. Session code's classes are never taken for one's."""
    module = module_name(kind)
    return module.partition(".")[0] if module is not None and offered(module, type_name(kind)) is kind else None


def table_class(kind: type) -> tuple | None:
    """The known library's class that a type is or derives from, as the library's name and the class; or None."""
    for base in _type_mro(kind):
        # jax has put its class's module into the name.
        name = type_name(base).rpartition(".")[2]
        for module in _TABULAR.get(name, ()):
            if offered(module, name) is base:
                return module, base
    return None


def tabular(value, derived: bool = False) -> tuple | None:
    """Shape and dtype of an array or a table of a known library, or None. `derived`: the class may be the session's."""
    kind = type(value)
    if table_class(kind) is None or not (derived or library(kind) in _LIBRARIES):
        return None
    try:
        from .tables import shape_and_dtype

        return shape_and_dtype(value)
    except Exception:
        return None


def scalar(value) -> str | None:
    """A number or an instant of a known library, as the library writes it; None for anything else."""
    kind = type(value)
    home = library(kind)
    name = type_name(kind)
    if home == "numpy":
        if name in ("str_", "bytes_"):
            plain = str if name == "str_" else bytes
            return repr(plain.__getitem__(value, slice(0, 4 * PREVIEW_CHARS)))
        is_scalar = derives(kind, offered("numpy", "generic"))
        return str(value) if is_scalar and name not in ("void", "record", "object_") else None
    if home == "pandas" and name in ("Timestamp", "Timedelta", "Period", "NaTType", "NAType"):
        return str(value) if name != "Timestamp" or is_plain_zone(value.tzinfo) else None
    if home == "pandas" and name == "Interval":
        ends = [scalar(end) or _number(end) for end in (value.left, value.right)]
        opening, closing = ("[" if value.closed_left else "("), ("]" if value.closed_right else ")")
        return None if None in ends else f"{opening}{ends[0]}, {ends[1]}{closing}"
    if home == "datetime" and name in ("datetime", "time"):
        return str(value) if is_plain_zone(value.tzinfo) else None
    if (home == "datetime" and name in ("date", "timedelta")) or (home == "decimal" and name == "Decimal"):
        return str(value)
    return None


def _number(value) -> str | None:
    return repr(value) if type(value) in (int, float) else None


def is_plain_zone(zone) -> bool:
    """Whether a time zone's code is all of known libraries."""
    for name in _ZONE_METHODS:
        method = lookup(type(zone), name)
        if type(method) is not FunctionType:
            if method is None or type(method) in (MethodDescriptorType, WrapperDescriptorType):
                continue
            return False
        home = method.__globals__.get("__name__")
        if type(home) is not str or home.partition(".")[0] not in _ZONE_MODULES:
            return False
        if type(MODULES.get(home)) is not ModuleType or vars(MODULES[home]) is not method.__globals__:
            return False
    return True


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
    # A class with another metaclass is no built-in one; to hash or to compare it might run code of the session's.
    brackets = _BRACKETS.get(kind) if type(kind) is type else None
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
    if type(kind) is type and kind in _WRITTEN:
        return repr(value)
    if kind is FunctionType:
        return f"<function {str.__str__(value.__name__)}>"
    if kind is MethodType:
        return f"<method {str.__str__(value.__func__.__name__) if type(value.__func__) is FunctionType else '?'}>"
    if kind is BuiltinFunctionType:
        return f"<built-in {value.__name__}>"
    if issubclass(kind, type):
        return f"<class {type_name(value)}>"
    if kind is ModuleType:
        name = vars(value).get("__name__")
        return f"<module {name}>" if type(name) is str else "<module>"
    name = type_name(kind)
    table = tabular(value, derived=True)
    if table is not None:
        shape, dtype = table
        return f"<{name} {'×'.join(map(str, shape)) or 'scalar'}{' ' + dtype if dtype else ''}>"
    for text in (scalar(value), _member(value, kind, limit), _fields(value, kind, limit)):
        if text is not None:
            return text
    return f"<{name} object>"


def is_enum(kind: type) -> bool:
    """Whether a class is one of enumeration members."""
    return derives(kind, offered("enum", "Enum"))


def _member(value, kind: type, limit: int) -> str | None:
    """A member of an enumeration, as its own repr would show it."""
    attributes = instance_dict(value)
    name = None if attributes is None or not is_enum(kind) else attributes.get("_name_")
    if type(name) is not str:
        return None
    return f"<{type_name(kind)}.{name}: {''.join(_parts(attributes.get('_value_'), 1, [limit // 2]))}>"


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
