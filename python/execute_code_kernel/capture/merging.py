"""Variables of another session, brought into this one.

Both sessions may have a class of one name. The other session's becomes this session's class, so that objects that come
are of the class that is here,

    when both are defined alike
    when it is what the name refers to over there, and has not been asked for itself

A class that is asked for takes the place of this session's. An earlier version, of which only objects are left, stays
what it is, beside this session's class. Each class is judged by itself: the order in which they are met means nothing.
"""

from __future__ import annotations

from ..private import builtins as __builtins__

from dis import get_instructions
from types import CodeType

from .likeness import Likeness
from .reasons import Refused
from .registry import Registry
from .restoring import Restorer

_LOADS = ("LOAD_GLOBAL", "LOAD_NAME")
_dict_of = type.__dict__["__dict__"].__get__


def class_named(namespace: dict, name: str):
    """The class of a cell that a qualified name leads to, or None."""
    found = None
    for part in name.split("."):
        found = (namespace if found is None else _dict_of(found)).get(part)
        if not issubclass(type(found), type):
            return None
    return found if _dict_of(found).get("__module__") == "__main__" else None


class Merger(Restorer):
    """Restores variables of another session's manifest, those of `names`, into this session's state."""

    def __init__(self, state, manifest: dict, fetch, names) -> None:
        super().__init__(state, manifest, fetch)
        self.differing: list = []
        """Names of this session's classes that objects have become of, and that were others."""
        self._apart: dict = {}
        """By key: the names of classes that this session has, too, and that stay beside its own."""
        self._names = names
        self._likeness = Likeness(Registry(state))
        classes = manifest["classes"]
        wanted = {one["name"] for one in classes.values() if not names.isdisjoint(one["variables"])}
        for key, one in classes.items():
            own = class_named(state.namespace, one["name"])
            asked = not names.isdisjoint(one["variables"]) or (one["current"] and _is_inside(one["name"], wanted))
            if own is None:
                continue
            if self._is_alike(own, one["likeness"]):
                self._take(key, own)
            elif one["current"] and not asked:
                self._take(key, own)
                self.differing.append(one["name"])
            elif not asked:
                self._apart[key] = one["name"]
        for reading in self._components:
            # What is here already needs nothing of the manifest's.
            reading.begun = self._own.issuperset(reading.keys)

    def _is_alike(self, own: type, likeness) -> bool:
        try:
            return self._likeness.of_class(own) == likeness
        except (KeyboardInterrupt, SystemExit):
            raise
        except BaseException:
            return False  # It cannot be captured: there is nothing to compare.

    def _take(self, key: str, own: type) -> None:
        self._registry.adopt(key, own)
        self._own.add(key)
        for name, member in _dict_of(own).get("_member_map_", {}).items():
            self._members[self._registry.member(key, name)] = member

    def _resolve(self, key: str):
        if key[:2] == "e:" and key not in self._members:
            size, _, rest = key[2:].partition(":")
            name, owner = rest[: int(size)], rest[int(size) :]
            if owner in self._own:
                raise Refused(f"the {owner[2:]} of this session has no member {name}")
        return super()._resolve(key)

    def _one(self, variable: dict) -> dict:
        before = self._state.namespace.get(variable["name"])
        report = super()._one(variable)
        if report["outcome"] == "restored":
            notes = [report["reason"]] if report["reason"] else []
            if issubclass(type(before), type) and self._state.namespace[variable["name"]] is not before:
                notes.append("objects of the class that was here keep that one")
            keys = self._come_with(variable["component"])
            for name in sorted({self._apart[key] for key in keys if key in self._apart}):
                notes.append(f"objects of an earlier {name} keep a class of their own")
            missing = self._missing(keys)
            if missing:
                notes.append(f"it uses {', '.join(missing)}, which this session does not have")
            report["reason"] = "; ".join(notes) or None
        return report

    def _come_with(self, component: int) -> set:
        """The keys of a component, and of what it needs that is not here already."""
        found, seen, waiting = set(), {component}, [component]
        while waiting:
            reading = self._components[waiting.pop()]
            if not self._own.issuperset(reading.keys):
                found.update(reading.keys)
                more = set(reading.needs) - seen
                seen |= more
                waiting += more
        return found

    def _missing(self, keys: set) -> list:
        """Variables of the other session that functions name, and that are neither here nor on their way."""
        there = {one["name"] for one in self._manifest["variables"]} - self._names - self._state.namespace.keys()
        functions = [self._registry.values.get(key) for key in keys if key[:2] == "f:"]
        used = [_globals_of(one.__code__) for one in functions if one is not None and one.__globals__ is self._state.namespace]
        return sorted(there & set().union(*used))


def _globals_of(code: CodeType) -> set:
    inner = [_globals_of(one) for one in code.co_consts if type(one) is CodeType]
    return {step.argval for step in get_instructions(code) if step.opname in _LOADS}.union(*inner)


def _is_inside(name: str, owners: set) -> bool:
    return any([name.startswith(f"{owner}.") for owner in owners])
