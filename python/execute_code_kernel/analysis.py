"""What a cell's text says without running it: its hash, its imports, the names it mentions."""

from __future__ import annotations

from .private import builtins as __builtins__

from ast import AST, Import, ImportFrom
from types import CodeType

try:
    from _blake2 import blake2b
except ImportError:
    from hashlib import blake2b

_HASHED_BYTES = 256 * 1024
_HASH_BYTES = 12
_IMPORTS = 200

# Fields that depend on the version or on layout, not on the meaning.
_SKIPPED = frozenset(("ctx", "kind", "type_comment", "type_ignores"))


def features(tree, code: str) -> dict:
    """`ast_hash` and `imports` of a `done` frame."""
    if tree is None:
        return {"ast_hash": None, "imports": []}
    small = len(code) <= _HASHED_BYTES
    return {"ast_hash": ast_hash(tree) if small else None, "imports": imported_modules(tree) if small else []}


def ast_hash(tree: AST) -> str:
    """24 hex digits, equal for trees of code that differs only in layout and comments.

    Nodes are written in preorder with their fields in order; empty lists and None are left out, so that fields which
    newer versions of Python add to old constructs change nothing.
    """
    parts: list = []
    write = parts.append
    # Without recursion: a tree may be deeper than the stack.
    waiting: list = [tree]
    while waiting:
        item = waiting.pop()
        if isinstance(item, AST):
            write(type(item).__name__)
            write("(")
            waiting.append(")")
            for name in reversed(item._fields):
                if name not in _SKIPPED:
                    value = getattr(item, name, None)
                    if value is not None and value != [] or name == "value":
                        waiting.append(_Scalar(value) if not isinstance(value, (AST, list)) else value)
                        waiting.append(f"{name}=")
        elif type(item) is list:
            write("[")
            waiting.append("]")
            waiting.extend([part if isinstance(part, AST) else _Scalar(part) for part in reversed(item)])
        elif type(item) is _Scalar:
            write(item.text())
        else:
            write(item)
    return blake2b("\0".join(parts).encode("utf-8", "surrogatepass"), digest_size=_HASH_BYTES).hexdigest()


class _Scalar:
    """A constant or an identifier in a tree."""

    __slots__ = ("_value",)

    def __init__(self, value) -> None:
        self._value = value

    def text(self) -> str:
        value = self._value
        if type(value) is int:
            return f"int:{value:x}"
        return f"{type(value).__name__}:{value!r}"


def imported_modules(tree: AST) -> list[str]:
    """Top-level modules that the code imports anywhere, sorted. Relative imports have none."""
    found: set[str] = set()
    waiting: list = [tree]
    while waiting:
        node = waiting.pop()
        kind = type(node)
        if kind is Import:
            found.update([alias.name.partition(".")[0] for alias in node.names])
        elif kind is ImportFrom:
            if node.module and not node.level:
                found.add(node.module.partition(".")[0])
        elif kind is list:
            waiting.extend(node)
        elif isinstance(node, AST):
            # Imports are statements: only what may contain statements is followed.
            for name in ("body", "orelse", "finalbody", "handlers", "cases"):
                value = getattr(node, name, None)
                if type(value) is list:
                    waiting.append(value)
    return sorted(found)[:_IMPORTS]


def mentioned_names(codes) -> frozenset:
    """Names that code objects read, write or delete outside their own locals."""
    found: set[str] = set()
    waiting = list(codes)
    while waiting:
        code = waiting.pop()
        found.update(code.co_names)
        waiting.extend([constant for constant in code.co_consts if type(constant) is CodeType])
    return frozenset(found)
