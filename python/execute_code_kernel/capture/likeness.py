"""Whether variables and definitions of different sessions are alike: digests of what they are, wherever it was made.

Blobs name definitions by keys that tell the execution, the line and the order in which they were met. Here a definition
is what it consists of: a function its code, without its place, and its content; a class its bases and attributes; both
with all definitions that they need. Those are numbered as they are met, so that definitions may need each other. Sets
are put in order, which depends on the process.
"""

from __future__ import annotations

from ..private import builtins as __builtins__

from types import CodeType

from ..digests import sha256
from . import definitions
from .pickling import Pickler

_BYTES = 1 << 40
"""There is no limit: nothing is kept of what is written."""
_OF_PLACE = ("__firstlineno__", "__static_attributes__")
"""Attributes of a class that tell its line, and names in an order of chance."""
_SETS = (set, frozenset)
_ORDERED = (str, bytes, int, float, bool, type(None))
_OF_CODE = (
    "co_name",
    "co_argcount",
    "co_posonlyargcount",
    "co_kwonlyargcount",
    "co_flags",
    "co_code",
    "co_exceptiontable",
    "co_names",
    "co_varnames",
    "co_freevars",
    "co_cellvars",
)
"""What code is besides its constants, without its place."""


class _Numbering(Pickler):
    """Writes a number in place of a definition's key, by the order in which they are met, and keeps a digest."""

    def __init__(self, registry) -> None:
        super().__init__(registry, None, "", _BYTES)
        self.numbers: dict = {}
        self._texts: dict = {}
        """By value: the one that stands for all. Which of them are one object is a matter of chance."""
        self._sets: dict = {}
        """By identity: what stands for a set that is met again, and the set."""
        self._digest = sha256()

    def write(self, data) -> int:
        self._digest.update(data)
        return len(data)

    def need(self, key: str) -> str:
        if key not in self.registry.values:
            return super().need(key)
        return self.numbers.setdefault(key, f"{key[:2]}{len(self.numbers)}")

    def persistent_id(self, value):
        if type(value) is str:
            return self._texts.setdefault(value, value)
        if type(value) is CodeType:
            return [*[getattr(value, name, None) for name in _OF_CODE], list(value.co_consts)]
        if type(value) in _SETS and all(map(_has_order, value)):
            if id(value) in self._sets:
                return self._sets[id(value)][0]
            self._sets[id(value)] = (f"set {len(self._sets)}".encode(), value)
            return [type(value).__name__, *sorted(value, key=lambda item: (type(item).__name__, repr(item)))]
        key = super().persistent_id(value)
        return None if key is None else key.encode("utf-8", "surrogatepass")

    def digest(self) -> bytes:
        for buffer in self.buffers:
            self._digest.update(buffer)
        return self._digest.digest()


class Likeness:
    """Digests of what one registry knows. They raise what pickling does."""

    def __init__(self, registry) -> None:
        self._registry = registry
        self._known: dict = {}
        """By the key of a definition: the digest of itself, and the keys that it needs, in order."""

    def of(self, roots: list) -> str:
        """Of roots together: what they share counts, too."""
        return self._with_needs(*self._look_at([(root.key, root.value) for root in roots]))

    def of_class(self, kind: type) -> str:
        return self._with_needs(*self._definition(self._registry.class_key(kind)))

    def _with_needs(self, own: bytes, needs: list) -> str:
        numbers: dict = {}
        total = sha256()
        waiting = [(own, needs)]
        for digest, keys in waiting:
            total.update(digest)
            for key in keys:
                if key not in numbers:
                    numbers[key] = len(numbers)
                    waiting.append(self._definition(key))
                total.update(numbers[key].to_bytes(4, "little"))
        return total.hexdigest()

    def _definition(self, key: str) -> tuple:
        if key not in self._known:
            self._known[key] = self._look_at([(key, self._registry.values[key])])
        return self._known[key]

    def _look_at(self, roots: list) -> tuple:
        pickler = _Numbering(self._registry)
        for key, value in roots:
            for part in [value] if key[:2] == "v:" else self._parts(pickler, key, value):
                pickler.dump(part)
        return pickler.digest(), list(pickler.numbers)

    def _parts(self, pickler: _Numbering, key: str, value) -> list:
        head = definitions.head_of(self._registry, key, value, "")
        stages = definitions.stages_of(self._registry, key, value)
        if key[:2] == "f:":
            head.update({"code": value.__code__, "globals": pickler.need(head["globals"])})
        elif key[:2] == "c:":
            stages = [_anywhere(stage) for stage in stages]
        return [head, *stages]


def _has_order(item) -> bool:
    """Whether what it looks like tells what it is."""
    return type(item) in _ORDERED or (type(item) is tuple and all(map(_has_order, item)))


def _anywhere(stage):
    """A stage of a class, as if that had been written elsewhere, or put together in another order."""
    if type(stage) is dict:
        return _sorted(stage)
    if stage[0] == "others":
        return ("others", _sorted(stage[1]), stage[2])
    return stage


def _sorted(attributes: dict) -> list:
    return sorted([item for item in attributes.items() if item[0] not in _OF_PLACE], key=lambda item: str(item[0]))
