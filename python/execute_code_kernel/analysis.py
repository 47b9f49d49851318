"""What a cell's text says without running it: its hash, its imports, the names it mentions."""

from __future__ import annotations

from .private import builtins as __builtins__

import ast
from ast import AST, Import, ImportFrom
from types import CodeType

try:
    from _blake2 import blake2b
except ImportError:
    from hashlib import blake2b

_HASHED_BYTES = 256 * 1024
_HASH_BYTES = 12
_IMPORTS = 200

NO_FEATURES: tuple = (None, [])

# Fields that depend on the version or on layout, not on the meaning.
_SKIPPED = frozenset(("ctx", "kind", "type_comment", "type_ignores"))


def features(tree, code: str) -> tuple:
    """`ast_hash` and `imports` of a `done` frame."""
    if tree is None or len(code) > _HASHED_BYTES:
        return NO_FEATURES
    imports: set[str] = set()
    return _walk(tree, imports), sorted(imports)[:_IMPORTS]


def _walk(tree: AST, imports: set) -> str:
    """24 hex digits, equal for trees of code that differs only in layout and comments. Top-level modules that the
    code imports anywhere are added to `imports`; relative imports have none.

    Nodes are written in preorder with their fields in order; empty lists and None are left out, so that fields which
    newer versions of Python add to old constructs change nothing.
    """
    parts: list[str] = []
    write = parts.append
    # Without recursion: a tree may be deeper than the stack.
    waiting: list = [tree]
    push = waiting.append
    while waiting:
        item = waiting.pop()
        kind = type(item)
        if kind is str:
            write(item)
        elif kind is list:
            write("[")
            push("]")
            for part in reversed(item):
                push(part if isinstance(part, AST) else _scalar(part))
        else:
            opening, fields = _shapes.get(kind) or _shape(kind)
            write(opening)
            push(")")
            for name, label in fields:
                value = getattr(item, name, None)
                if isinstance(value, AST):
                    push(value)
                elif type(value) is list:
                    if not value:
                        continue
                    push(value)
                elif value is None and name != "value":
                    continue
                else:
                    push(_scalar(value))
                push(label)
            if kind is Import:
                imports.update([alias.name.partition(".")[0] for alias in item.names])
            elif kind is ImportFrom and item.module and not item.level:
                imports.add(item.module.partition(".")[0])
    return blake2b("\0".join(parts).encode("utf-8", "surrogatepass"), digest_size=_HASH_BYTES).hexdigest()


_shapes: dict = {}
"""By type of node: what opens it, and its fields from the last to the first, each with its label."""


def _shape(kind: type) -> tuple:
    fields = [(name, name + "=") for name in reversed(kind._fields) if name not in _SKIPPED]
    shape = _shapes[kind] = (f"{kind.__name__}\0(", fields)
    return shape


def _scalar(value) -> str:
    """A constant or an identifier in a tree."""
    if type(value) is int:
        return f"int:{value:x}"
    return f"{type(value).__name__}:{value!r}"


def mentioned_names(codes) -> frozenset:
    """Names that code objects read, write or delete outside their own locals."""
    found: set[str] = set()
    waiting = list(codes)
    while waiting:
        code = waiting.pop()
        found.update(code.co_names)
        for constant in code.co_consts:
            if type(constant) is CodeType:
                waiting.append(constant)
    return frozenset(found)
