"""A closer look at variables, bounded, without running code of theirs.

What a value consists of is read with the built-in types' own methods, whatever its class overrides; attributes come
from ordinary instance dictionaries and slots, never from properties or `__getattr__`.
"""

from __future__ import annotations

from .private import builtins as __builtins__

import ast
import sys
from array import array
from collections import OrderedDict, deque
from itertools import islice
from os import stat
from stat import S_ISREG
from sys import getsizeof
from types import (
    BuiltinFunctionType,
    ClassMethodDescriptorType,
    FunctionType,
    GenericAlias,
    MemberDescriptorType,
    MethodDescriptorType,
    MethodType,
    MethodWrapperType,
    ModuleType,
    WrapperDescriptorType,
)

from .cells import parse
from .imports import ImportHooks
from .previews import (
    LARGEST,
    derives,
    instance_dict,
    is_enum,
    is_type,
    library,
    lookup,
    module_name,
    offered,
    preview,
    tabular,
    type_name,
)
from .private import MODULES
from .sources import Sources

_VARIABLES = 1000
_CHILDREN = 50
_NODES = 500
_DEPTH = 4
_LABEL_CHARS = 80
_DOC_CHARS = 2_000
_SOURCE_CHARS = 20_000
_ALL_SOURCES_CHARS = 60_000
_PREVIEW_CHARS = 200
_SIGNATURE_CHARS = 500
_ANNOTATION_CHARS = 80
_DEFAULT_CHARS = 40
_LOOKED_UP = 10_000
_WRAPPERS = 20
_PUBLIC = {"_name_": "name", "_value_": "value"}
"""What a member of an enumeration is known by, by where it is kept."""
_FILE_BYTES = 4 * 1024 * 1024
_TABLES = 10
_CHILD_CELLS = 100_000

_type_mro = type.__dict__["__mro__"].__get__
_type_dict = type.__dict__["__dict__"].__get__
_type_flags = type.__dict__["__flags__"].__get__
_type_text_signature = type.__dict__["__text_signature__"].__get__

_VIEWS = (type({}.keys()), type({}.values()), type({}.items()))
_INDEXED = (list, tuple, range, array)
_ITERABLE = (*_INDEXED, set, frozenset, deque, *_VIEWS)
_SIZED = (*_ITERABLE, dict, str, bytes, bytearray, memoryview)
_BARE = (str, bytes, bytearray, int, float, complex, bool, type(None), range)
_SCALARS = (str, int, float, bool, type(None))
_BUILT_IN = (
    BuiltinFunctionType,
    ClassMethodDescriptorType,
    MethodDescriptorType,
    MethodWrapperType,
    WrapperDescriptorType,
)
_DESCRIPTORS = (MethodDescriptorType, WrapperDescriptorType)
"""Take the object that they are called on as their first argument."""
_WRAPPING = (staticmethod, classmethod)
_UNION = getattr(MODULES["types"], "UnionType", None)
_HEAP_TYPE = 1 << 9
"""The flag of a class that was made while the program ran."""
_VARARGS, _VARKEYWORDS = 4, 8
"""Flags of a code object: it takes `*args`, `**kwargs`."""


def _among(kind: type, kinds: tuple) -> bool:
    """Like `in`, which might ask a metaclass."""
    return any([kind is one for one in kinds])


def _base_among(kind: type, kinds: tuple):
    """The first of its bases that is among these types, or None."""
    for base in _type_mro(kind):
        if _among(base, kinds):
            return base
    return None


class Inspector:
    """Looks at the variables of one session."""

    def __init__(self, namespace: dict, sources: Sources) -> None:
        self._namespace = namespace
        self._sources = sources

    def install(self, hooks: ImportHooks) -> None:
        """Has the module `inspect` find the cells that define classes, as it finds those of functions."""
        hooks.after("inspect", self._change_inspect)

    def _change_inspect(self, module) -> None:
        getfile = module.getfile

        def find_file(object):
            try:
                return getfile(object)
            except (TypeError, OSError):
                place = _Definitions(self._sources).of_class(object, files=False) if isinstance(object, type) else None
                if place is None:
                    raise
                return place.file

        find_file.__name__, find_file.__doc__ = getfile.__name__, getfile.__doc__
        module.getfile = find_file

    def summary(self) -> list[dict]:
        """Every variable that is not private, at most 1,000, by name."""
        shown = [
            (name, value)
            for name, value in self._namespace.copy().items()
            if type(name) is str and name[:1] != "_" and type(value) is not ModuleType
        ]
        shown.sort(key=lambda item: item[0])
        return [_info(name, value) for name, value in shown[:_VARIABLES]]

    def detail(self, name: str, depth: int) -> dict:
        """One variable with its parts, `depth` levels down. Raises KeyError."""
        for key, value in self._namespace.copy().items():
            # A key of another type might compare itself.
            if type(key) is str and key == name:
                return _Look(self._sources).detail(name, value, max(0, min(depth, _DEPTH)))
        raise KeyError(name)


class _Look:
    """One answer in the making, and what may still go into it."""

    def __init__(self, sources: Sources) -> None:
        self._definitions = _Definitions(sources)
        self._nodes = _NODES - 1
        self._tables = _TABLES
        self._source_chars = _ALL_SOURCES_CHARS

    def detail(self, name: str, value, depth: int, above: tuple = ()) -> dict:
        """`above`: what this value is part of, by identity; it is not followed again."""
        function, bound = _function(value)
        place = self._place(value, function, bool(above))
        # A class's source holds that of its members.
        is_member = bool(above) and is_type(above[-1])
        detail = {
            **_info(name, value, _PREVIEW_CHARS),
            "children": [],
            "omitted": 0,
            "source": None if is_member else self._source(place),
            "doc": _doc(value if function is None else function),
            "signature": self._signature(value, function, bound, place),
            "table": self._table(value, bool(above)),
        }
        parts, count = _parts(value)
        here = any([one is value for one in above])
        shown = [] if depth == 0 or here else parts[: self._nodes]
        self._nodes -= len(shown)
        for label, part in shown:
            detail["children"].append(self.detail(label, part, depth - 1, (*above, value)))
        detail["omitted"] = count - len(shown)
        return detail

    def _place(self, value, function, is_part: bool) -> _Place | None:
        """Where a function or a class was defined. For what is a part of something no file is read."""
        try:
            if is_type(value):
                return self._definitions.of_class(value, files=not is_part)
            return None if function is None else self._definitions.of_function(function.__code__, files=not is_part)
        except RecursionError:
            return None

    def _signature(self, value, function, bound: bool, place) -> str | None:
        """How something is called, as far as that is known without running code of its."""
        try:
            if is_type(value):
                constructor = _constructor(value)
                if type(constructor) is not FunctionType:
                    return constructor
                place = self._definitions.of_function(constructor.__code__, files=False)
                return _function_signature(constructor, True, {**_annotations(constructor, place), "return": None})
            if function is not None and type(value) is not property:
                return _function_signature(function, bound, _annotations(function, place))
            if _among(type(value), _BUILT_IN):
                return _text_signature(value.__text_signature__, not _among(type(value), _DESCRIPTORS))
        except (AttributeError, TypeError, ValueError, RecursionError):
            pass
        return None

    def _source(self, place) -> str | None:
        if place is None or self._source_chars <= 0:
            return None
        text = place.text[: min(_SOURCE_CHARS, self._source_chars)]
        self._source_chars -= len(text)
        return text

    def _table(self, value, is_part: bool) -> dict | None:
        """The first tables that are parts of something get a shorter look, the others none."""
        if self._tables == 0 or tabular(value, derived=True) is None:
            return None
        from .tables import CELLS, look

        self._tables -= 1
        return look(value, _CHILD_CELLS if is_part else CELLS)


# ── a value in short ────────────────────────────────────────────────────────────────────────────────────────────


def _info(name: str, value, preview_chars: int = 80) -> dict:
    kind = type(value)
    table = tabular(value, derived=True)
    shape, dtype = table if table is not None else (None, None)
    return {
        "name": name[:_LABEL_CHARS],
        "type": type_name(kind),
        "module": module_name(kind),
        "shape": shape,
        "dtype": dtype,
        "length": _length(value, kind, shape),
        "bytes": _bytes(value, kind, shape),
        "preview": preview(value, preview_chars),
    }


def _length(value, kind: type, shape) -> int | None:
    if shape is not None:
        return shape[0] if shape else None
    base = _base_among(kind, _SIZED)
    try:
        return None if base is None else min(base.__len__(value), LARGEST)
    except Exception:
        return None


def _bytes(value, kind: type, shape) -> int | None:
    if shape is not None:
        from .tables import full_bytes

        return full_bytes(value)
    if type(lookup(kind, "__sizeof__")) is not MethodDescriptorType:
        return None
    try:
        return min(getsizeof(value), LARGEST)
    except Exception:
        return None


def _doc(value) -> str | None:
    if is_type(value):
        doc = _type_dict(value).get("__doc__")
    elif type(value) is ModuleType:
        doc = _module_dict(value).get("__doc__")
    elif type(value) is FunctionType or _among(type(value), _BUILT_IN):
        doc = value.__doc__
    else:
        return None
    return _dedented(doc)[:_DOC_CHARS] if type(doc) is str else None


def _dedented(doc: str) -> str:
    """Without the indentation of the code around it, as newer compilers leave it."""
    first, *rest = doc[: 2 * _DOC_CHARS].expandtabs().split("\n")
    margin = min([len(line) - len(line.lstrip()) for line in rest if line.strip()], default=0)
    return "\n".join([first.lstrip(), *[line[margin:].rstrip() for line in rest]]).rstrip()


# ── parts ───────────────────────────────────────────────────────────────────────────────────────────────────────


def _parts(value) -> tuple:
    """Labelled parts, at most 50, and how many there are."""
    kind = type(value)
    if is_type(value):
        parts = _members(value)
    elif _among(kind, _BARE) or tabular(value, derived=True) is not None:
        parts = []
    elif derives(kind, ModuleType):
        parts = [item for item in _named(_module_dict(value)) if item[0][:1] != "_"]
    elif is_enum(kind):
        attributes = [(_PUBLIC.get(name, name), part) for name, part in _attributes(value)]
        parts = [item for item in attributes if item[0][:1] != "_"]
    else:
        items, count = _items(value, kind)
        # A container of a class with attributes has both.
        attributes = [] if _among(kind, _SIZED) else _undecorated(_attributes(value))
        return [*items, *attributes][:_CHILDREN], count + len(attributes)
    return parts[:_CHILDREN], len(parts)


def _items(value, kind: type) -> tuple:
    """What a container holds: at most 50 items with their labels, and the number of all."""
    base = _base_among(kind, (dict, *_ITERABLE))
    if base is None:
        return [], 0
    count = base.__len__(value)
    if base is dict:
        return [(preview(key, _LABEL_CHARS), item) for key, item in _entries(value, kind)], min(count, LARGEST)
    labels = lookup(kind, "_fields") if base is tuple else None
    named = type(labels) is tuple and len(labels) == count and all([type(label) is str for label in labels])
    items = list(islice(base.__iter__(value), _CHILDREN))
    return [(labels[place] if named else str(place), item) for place, item in enumerate(items)], min(count, LARGEST)


def _entries(value, kind: type) -> list:
    """The first entries of a dictionary. The order of an OrderedDict is known to its iterator alone, which hashes keys:
    it is asked when these are of types that do so in C."""
    if derives(kind, OrderedDict) and dict.__len__(value) <= _LOOKED_UP:
        keys = list(dict.keys(value))
        if all([_among(type(key), _SCALARS) for key in keys]):
            entries = dict(dict.items(value))
            return [(key, entries.get(key)) for key in list(islice(OrderedDict.__iter__(value), _CHILDREN))]
    return list(islice(dict.items(value), _CHILDREN))


def _attributes(value) -> list:
    """What an object keeps in its dictionary and in slots, by name."""
    found = dict(_named(instance_dict(value) or {}))
    for base in _type_mro(type(value)):
        for name, descriptor in _named(_type_dict(base)):
            if type(descriptor) is MemberDescriptorType and name[:2] != "__" and name not in found:
                try:
                    found[name] = descriptor.__get__(value)
                except Exception:
                    # A slot that holds nothing.
                    continue
        if base is BaseException:
            found["args"] = base.__dict__["args"].__get__(value)
    return list(found.items())


def _undecorated(attributes: list) -> list:
    """Without what `functools.wraps` puts on a decorated function."""
    is_decorated = any([name == "__wrapped__" for name, _ in attributes])
    return [item for item in attributes if item[0][:2] != "__"] if is_decorated else attributes


def _members(kind: type) -> list:
    """What a class defines itself: everything with a plain name, and special methods."""
    namespace = _type_dict(kind)
    members = namespace.get("_member_map_")
    if is_enum(kind) and type(members) is dict:
        functions = [(name, part) for name, part in _named(namespace) if name[:1] != "_" and type(part) is FunctionType]
        return _named(members) + functions
    return [
        (name, part)
        for name, part in _named(namespace)
        if (name[:2] != "__" and name != "_abc_impl") or _among(type(part), (FunctionType, property, *_WRAPPING))
    ]


def _named(namespace) -> list:
    """The entries of a namespace under ordinary names."""
    return [(name, part) for name, part in list(namespace.items()) if type(name) is str]


def _module_dict(module) -> dict:
    return ModuleType.__dict__["__dict__"].__get__(module)


# ── functions ───────────────────────────────────────────────────────────────────────────────────────────────────


def _function(value) -> tuple:
    """The plain function behind a callable, its decorators left out, and whether its first argument is given."""
    bound = False
    for _ in range(_WRAPPERS):
        kind = type(value)
        inner = None
        if kind is MethodType:
            bound, inner = True, value.__func__
        elif _among(kind, _WRAPPING):
            bound, inner = bound or kind is classmethod, value.__func__
        elif kind is property:
            inner = value.fget
        else:
            inner = (instance_dict(value) or {}).get("__wrapped__")
            inner = inner if type(inner) is FunctionType else None
        if inner is None:
            break
        value = inner
    return (value, bound) if type(value) is FunctionType else (None, False)


def _constructor(kind: type):
    """The function that a class passes its arguments to, or the text of its signature; None when neither is known."""
    if lookup(type(kind), "__call__") is not type.__dict__["__call__"]:
        return None
    if not _type_flags(kind) & _HEAP_TYPE:
        return _text_signature(_type_text_signature(kind), True)
    for base in _type_mro(kind):
        namespace = _type_dict(base)
        for name in ("__new__", "__init__"):
            function, _ = _function(namespace.get(name))
            if function is not None:
                return function
        if "__new__" in namespace or "__init__" in namespace:
            return "()" if base is object else _text_signature(_type_text_signature(base), True)
    return None


def parameters(value) -> list:
    """Names by which a plain function, or a class made with one, can be given its arguments."""
    function, bound = _function(value)
    if is_type(value):
        constructor = _constructor(value)
        function, bound = (constructor, True) if type(constructor) is FunctionType else (None, False)
    if function is None:
        return []
    code = function.__code__
    first = max(code.co_posonlyargcount, 1 if bound else 0)
    return list(code.co_varnames[first : code.co_argcount + code.co_kwonlyargcount])


def _text_signature(text, bound: bool) -> str | None:
    """A built-in's signature; where it is bound without the argument that Python passes itself, which has a mark."""
    if type(text) is not str:
        return None
    first, comma, rest = text.partition(",")
    if bound and first[:2] == "($":
        rest = rest.lstrip().removeprefix("/").removeprefix(",").lstrip()
        text = f"({rest}" if comma else "()"
    return " ".join(text.replace("($", "(").split())[:_SIGNATURE_CHARS]


def _function_signature(function: FunctionType, bound: bool, annotations: dict) -> str:
    code = function.__code__
    positional, named = code.co_argcount, code.co_argcount + code.co_kwonlyargcount
    names, rest = code.co_varnames[:named], list(code.co_varnames[named:])
    defaults = function.__defaults__ if type(function.__defaults__) is tuple else ()
    given = dict(zip(reversed(names[:positional]), reversed(defaults)))
    given.update(_named(function.__kwdefaults__) if type(function.__kwdefaults__) is dict else ())
    written = [_parameter(name, given, annotations) for name in names]
    parts = written[:positional]
    if code.co_posonlyargcount:
        parts.insert(code.co_posonlyargcount, "/")
    if bound and parts:
        del parts[: 2 if code.co_posonlyargcount == 1 else 1]
    if code.co_flags & _VARARGS:
        parts.append("*" + _parameter(rest.pop(0), {}, annotations))
    elif code.co_kwonlyargcount:
        parts.append("*")
    parts += written[positional:]
    if code.co_flags & _VARKEYWORDS:
        parts.append("**" + _parameter(rest.pop(0), {}, annotations))
    returned = annotations.get("return")
    text = f"({', '.join(parts)}){'' if returned is None else f' -> {returned}'}"
    return text if len(text) <= _SIGNATURE_CHARS else text[: _SIGNATURE_CHARS - 1] + "…"


def _parameter(name: str, given: dict, annotations: dict) -> str:
    annotation = annotations.get(name)
    text = name if annotation is None else f"{name}: {annotation}"
    if name not in given:
        return text
    return f"{text}{'=' if annotation is None else ' = '}{_default(given[name])}"


def _default(value) -> str:
    return "<factory>" if type_name(type(value)) == "_HAS_DEFAULT_FACTORY_CLASS" else preview(value, _DEFAULT_CHARS)


def _annotations(function: FunctionType, place) -> dict:
    """Texts by argument name: of the source, else of the values where reading these runs nothing."""
    if place is not None and isinstance(place.node, (ast.FunctionDef, ast.AsyncFunctionDef)):
        arguments = place.node.args
        every = [*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs, arguments.vararg, arguments.kwarg]
        found = {one.arg: one.annotation for one in every if one is not None}
        found["return"] = place.node.returns
        return {name: ast.unparse(node)[:_ANNOTATION_CHARS] for name, node in found.items() if node is not None}
    # Since 3.14 annotations are computed when they are read.
    values = function.__annotations__ if sys.version_info < (3, 14) else None
    if type(values) is not dict:
        return {}
    return {name: _annotation(part, 3)[:_ANNOTATION_CHARS] for name, part in _named(values)}


def _annotation(value, depth: int) -> str:
    kind = type(value)
    if value is None or value is type(None):
        return "None"
    if kind is str or value is ...:
        return "..." if value is ... else value
    if is_type(value) and kind is not GenericAlias:
        return type_name(value)
    origin, arguments = _generic(value, kind)
    if type(arguments) is not tuple:
        return preview(value, _DEFAULT_CHARS)
    inner = [_annotation(one, depth - 1) for one in arguments[:10]] if depth else ["…"]
    return f"{type_name(origin)}[{', '.join(inner)}]" if is_type(origin) else " | ".join(inner)


def _generic(value, kind: type) -> tuple:
    """The generic class and its arguments; no class for a union."""
    if kind is GenericAlias:
        return tuple([kind.__dict__[name].__get__(value) for name in ("__origin__", "__args__")])
    if kind is _UNION:
        return None, kind.__dict__["__args__"].__get__(value)
    state = instance_dict(value) if library(kind) == "typing" else None
    origin, arguments = [(state or {}).get(name) for name in ("__origin__", "__args__")]
    is_known = is_type(origin) or origin is offered("typing", "Union")
    return origin, arguments if is_known else None


# ── sources ─────────────────────────────────────────────────────────────────────────────────────────────────────


class _Place:
    """A definition: its syntax, and its whole lines with the decorators."""

    def __init__(self, file: str, node, lines: list[str]) -> None:
        decorators = getattr(node, "decorator_list", [])
        self.file = file
        self.node = node
        self.first = min([node.lineno, *[decorator.lineno for decorator in decorators]])
        self.last = node.end_lineno
        self.name = getattr(node, "name", "<lambda>")
        self._lines = lines

    @property
    def text(self) -> str:
        return "".join(self._lines[self.first - 1 : self.last])


class _Definitions:
    """Finds where functions and classes were defined: in cells, and in files that are still there."""

    def __init__(self, sources: Sources) -> None:
        self._sources = sources
        self._known: dict = {}

    def of_function(self, code, files: bool) -> _Place | None:
        for place in self._in(code.co_filename, files):
            is_function = type(place.node) is not ast.ClassDef
            if is_function and place.first == code.co_firstlineno and place.name == code.co_name:
                return place
        return None

    def of_class(self, kind: type, files: bool) -> _Place | None:
        """Where its methods are, else where the newest cell defines a class of its name."""
        for _, part in _named(_type_dict(kind)):
            function, _ = _function(part)
            place = None if function is None else self._around(kind, function.__code__, files)
            if place is not None:
                return place
        if module_name(kind) != "__main__":
            return None
        first = _type_dict(kind).get("__firstlineno__")
        for name, lines in self._sources.newest_first():
            if any([type_name(kind) in line and "class" in line for line in lines]):
                for place in self._in(name, files):
                    if _is_class(place, kind) and (type(first) is not int or place.first == first):
                        return place
        return None

    def _around(self, kind: type, code, files: bool) -> _Place | None:
        line = code.co_firstlineno
        places = [place for place in self._in(code.co_filename, files) if _is_class(place, kind)]
        around = [place for place in places if place.first <= line <= place.last]
        return max(around, key=lambda place: place.first, default=None)

    def _in(self, name: str, files: bool) -> list[_Place]:
        """Every definition in a source, outer ones first; `files`: files count as sources."""
        if name not in self._known:
            lines = self._sources.lines(name)
            if lines is None:
                if not files:
                    return []
                lines = _file_lines(name)
            try:
                self._known[name] = _places(name, lines)
            except (SyntaxError, ValueError, RecursionError, MemoryError):
                self._known[name] = []
        return self._known[name]


def _is_class(place: _Place, kind: type) -> bool:
    return type(place.node) is ast.ClassDef and place.name == type_name(kind)


def _places(file: str, lines: list[str]) -> list[_Place]:
    tree = parse("".join(lines), "<source>")
    kinds = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef, ast.Lambda)
    return [_Place(file, node, lines) for node in ast.walk(tree) if isinstance(node, kinds)]


def _file_lines(name: str) -> list[str]:
    """The lines of a Python file, or none."""
    if name[:1] != "/" or name[-3:] != ".py":
        return []
    try:
        status = stat(name)
        if not S_ISREG(status.st_mode) or status.st_size > _FILE_BYTES:
            return []
        with open(name, encoding="utf-8", errors="replace") as file:
            return file.readlines()
    except (OSError, ValueError):
        return []
