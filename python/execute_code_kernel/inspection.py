"""A closer look at variables, bounded, without running code of theirs."""

from __future__ import annotations

from .private import builtins as __builtins__

import ast
from itertools import islice
from sys import getsizeof
from types import FunctionType, ModuleType

from .previews import LARGEST, instance_dict, is_type, lookup, module_name, preview, tabular, type_name
from .sources import Sources

_VARIABLES = 1000
_CHILDREN = 50
_NODES = 500
_DEPTH = 5
_LABEL_CHARS = 80
_DOC_CHARS = 2_000
_SOURCE_CHARS = 20_000
_PREVIEW_CHARS = 200

_SIZED = (str, bytes, bytearray, list, tuple, dict, set, frozenset, range)


class Inspector:
    """Looks at the variables of one session."""

    def __init__(self, namespace: dict, sources: Sources) -> None:
        self._namespace = namespace
        self._sources = sources

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
        return self._detail(name, self._namespace[name], max(0, min(depth, _DEPTH)), [_NODES], ())

    def _detail(self, name: str, value, depth: int, nodes: list, above: tuple) -> dict:
        nodes[0] -= 1
        children, omitted = [], 0
        if id(value) not in above:
            parts, count = _parts(value)
            if depth > 0:
                for label, part in parts:
                    if nodes[0] <= 0:
                        break
                    children.append(self._detail(label, part, depth - 1, nodes, (*above, id(value))))
            omitted = count - len(children)
        return {
            **_info(name, value, _PREVIEW_CHARS),
            "children": children,
            "omitted": omitted,
            "source": self._source(value),
            "doc": _doc(value),
        }

    def _source(self, value) -> str | None:
        """The text of a function or a class that a cell defined."""
        try:
            if type(value) is FunctionType:
                code = value.__code__
                lines = self._sources.lines(code.co_filename)
                return None if lines is None else _definition(lines, None, code.co_firstlineno)
            if is_type(value) and module_name(value) == "__main__":
                for _, lines in self._sources.newest_first():
                    found = _definition(lines, type_name(value), None)
                    if found is not None:
                        return found
        except (SyntaxError, ValueError, RecursionError, MemoryError):
            pass
        return None


def _info(name: str, value, preview_chars: int = 80) -> dict:
    kind = type(value)
    table = tabular(value)
    shape, dtype = table if table is not None else (None, None)
    return {
        "name": name[:_LABEL_CHARS],
        "type": type_name(kind),
        "module": module_name(kind),
        "shape": shape,
        "dtype": dtype,
        "length": _length(value, kind, shape),
        "bytes": _bytes(value, kind),
        "preview": preview(value, preview_chars),
    }


def _length(value, kind: type, shape) -> int | None:
    if shape:
        return shape[0]
    # A length that C code computes, not session code.
    if kind in _SIZED or type(lookup(kind, "__len__")).__name__ == "wrapper_descriptor":
        try:
            return min(len(value), LARGEST)
        except Exception:
            return None
    return None


def _bytes(value, kind: type) -> int | None:
    if type(lookup(kind, "__sizeof__")).__name__ != "method_descriptor":
        return None
    try:
        return getsizeof(value)
    except Exception:
        return None


def _parts(value) -> tuple:
    """Labelled parts, at most 50, and how many there are."""
    kind = type(value)
    if kind is dict:
        items = [(preview(key, _LABEL_CHARS), item) for key, item in list(islice(value.items(), _CHILDREN))]
        return items, len(value)
    if kind in (list, tuple):
        return [(str(index), item) for index, item in enumerate(value[:_CHILDREN])], len(value)
    if kind in (set, frozenset):
        return [(str(index), item) for index, item in enumerate(list(islice(value, _CHILDREN)))], len(value)
    if kind is FunctionType or is_type(value) or kind is ModuleType or tabular(value) is not None:
        return [], 0
    attributes = instance_dict(value)
    if attributes is None:
        return [], 0
    items = [(key, item) for key, item in list(islice(attributes.items(), _CHILDREN)) if type(key) is str]
    return items, len(attributes)


def _doc(value) -> str | None:
    if type(value) is FunctionType:
        doc = value.__doc__
    elif is_type(value):
        doc = type.__dict__["__dict__"].__get__(value).get("__doc__")
    else:
        return None
    return doc[:_DOC_CHARS] if type(doc) is str else None


def _definition(lines: list[str], class_name, first_line) -> str | None:
    """The definition with this class name, or the one that begins at this line (its decorators included)."""
    code = "".join(lines)
    if class_name is not None and class_name not in code:
        return None
    tree = compile(code, "<source>", "exec", ast.PyCF_ONLY_AST | ast.PyCF_ALLOW_TOP_LEVEL_AWAIT, dont_inherit=True)
    waiting: list = [tree]
    while waiting:
        node = waiting.pop()
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
            begin = min([node.lineno, *[decorator.lineno for decorator in node.decorator_list]])
            named = class_name is not None and type(node) is ast.ClassDef and node.name == class_name
            if named or (first_line is not None and type(node) is not ast.ClassDef and begin == first_line):
                return "".join(lines[begin - 1 : node.end_lineno])[:_SOURCE_CHARS]
        elif isinstance(node, ast.Lambda) and first_line == node.lineno:
            return "".join(lines[node.lineno - 1 : node.end_lineno])[:_SOURCE_CHARS]
        waiting.extend(ast.iter_child_nodes(node))
    return None
