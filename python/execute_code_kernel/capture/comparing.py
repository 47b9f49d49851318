"""What reductions leave out, or change: objects beside those that were made of their pickles.

That what was read is pickled again as it was written proves what pickles tell. It does not show what they are silent
about: an attribute that a `__reduce__` or `__getstate__` drops, an object that becomes one of another class. Memos of a
pickler and of an unpickler number the same objects alike: so each can be laid beside its copy, without running code of
theirs. Objects that pickle as `object` does need no look, and private attributes are a library's own affair where its
code reduces.
"""

from __future__ import annotations

from ..private import builtins as __builtins__

from types import MemberDescriptorType

from ..previews import derives, instance_dict, lookup, module_name, type_name

_LISTED = 5
_MAIN = ("__main__", "__mp_main__")
_WAYS = ("__reduce__", "__reduce_ex__", "__getstate__", "__setstate__")
_ATOMS = (int, float, complex, bool, str, bytes, type(None))
_SIZED = (list, tuple, dict, set, frozenset)
_VALUED = (int, float, complex, str, bytes, bytearray)
_PLAIN = {id(kind) for kind in (*_ATOMS, *_SIZED, bytearray)}
_MISSING = object()


def differences(written: dict, read: dict, is_plain) -> set:
    """In words, at most five and that there are more. `written` is a pickler's memo, `read` an unpickler's;
    `is_plain(kind)` tells whether objects of a class pickle as `object` does."""
    found: set = set()
    looks: dict = {}
    for index, original in list(written.values()):
        kind = type(original)
        if id(kind) in _PLAIN:
            continue
        look = looks.get(id(kind), looks)
        if look is looks:
            look = looks[id(kind)] = None if is_plain(kind) and not _holds_more(kind) else _Look(kind)
        copy = read.get(index, original)
        if look is None or copy is original:
            continue
        for difference in look.differences(original, copy, written, read):
            if len(found) == _LISTED:
                return {*found, "there is more that is not kept"}
            found.add(difference)
    return found


def _holds_more(kind: type) -> bool:
    return any([derives(kind, base) for base in (*_SIZED, *_VALUED)])


class _Look:
    """Looks at objects of one class."""

    def __init__(self, kind: type) -> None:
        self._kind = kind
        self._name = type_name(kind)
        # A class in C that reduces itself tells what it has; to look at its attributes would make them.
        self._has_attributes = not any([getattr(lookup(kind, name), "__objclass__", None) is kind for name in _WAYS])
        self._is_own = any([getattr(lookup(kind, name), "__module__", None) in _MAIN for name in _WAYS])
        self._fields = [
            (name, field)
            for owner in type.__dict__["__mro__"].__get__(kind)
            for name, field in list(type.__dict__["__dict__"].__get__(owner).items())
            if type(field) is MemberDescriptorType and self._has_attributes
        ]
        self._sized = [base for base in _SIZED if derives(kind, base)]
        self._valued = [base for base in _VALUED if derives(kind, base)]

    def differences(self, original, copy, written: dict, read: dict) -> list:
        other = type(copy)
        if other is not self._kind:
            # What a library makes anew under the same name is the same to it.
            same = module_name(other) == module_name(self._kind) not in _MAIN and type_name(other) == self._name
            return [] if same else [f"a {self._name!r} object comes back as a {type_name(other)!r} object"]
        found = []
        if not all([_has_same(base, original, copy, written, read) for base in self._sized]) or any(
            [base.__ne__(original, copy) and base.__eq__(original, original) for base in self._valued]
        ):
            found.append(f"a {self._name!r} object comes back with other content")
        before, after = [(instance_dict(one) if self._has_attributes else None) or {} for one in (original, copy)]
        attributes = [(name, value, after.get(name, _MISSING)) for name, value in before.items()]
        fields = [(name, _content(field, original), _content(field, copy)) for name, field in self._fields]
        for name, before, now in attributes + fields:
            if before is not _MISSING and self._counts(name) and not _is_alike(before, now, written, read):
                words = "without" if now is _MISSING else "with another"
                found.append(f"a {self._name!r} object comes back {words} {name!r}")
        return found

    def _counts(self, name) -> bool:
        return type(name) is str and (name[:1] != "_" or (self._is_own and name[:2] != "__"))


def _has_same(base: type, original, copy, written: dict, read: dict) -> bool:
    if base.__len__(original) != base.__len__(copy):
        return False
    if base is set or base is frozenset:
        return True
    items = [dict.values(one) if base is dict else base.__iter__(one) for one in (original, copy)]
    return all([_is_alike(before, now, written, read) for before, now in zip(*items)])


def _content(field, value):
    try:
        return field.__get__(value)
    except (AttributeError, TypeError):
        return _MISSING


def _is_alike(before, now, written: dict, read: dict) -> bool:
    if before is now:
        return True
    if type(before) is not type(now):
        return False
    if type(before) in _ATOMS:
        return before == now or before != before
    known = written.get(id(before))
    if known is None:
        # It is pickled by nobody, and made anew.
        return type(before) not in _SIZED or len(before) == len(now)
    return read.get(known[0], now) is now
