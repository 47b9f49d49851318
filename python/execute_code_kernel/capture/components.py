"""From a namespace to components: which variables belong together, and what cannot be captured.

    1. each variable is pickled by itself, and each definition that is met on the way; shared objects are noted
    2. roots that have met the same shared object become one component, and are pickled again, together
    3. what refused, and whatever needs it, is left out with its reason
    4. small components are read back and pickled once more: what cannot be read is left out, what differs from what it
       was is noted, and what gives the same bytes can be verified by them after a restore; of large ones, samples are read
    5. for a comparison, digests that are the same in other sessions
"""

from __future__ import annotations

from ..private import builtins as __builtins__

import gc
import warnings
from io import BytesIO
from time import monotonic as _monotonic

from . import classes, definitions, references
from .comparing import differences
from .deadline import Deadline
from .depth import deeply
from .likeness import Likeness
from .pickling import Blob, Pickler, Unpickler, head, slow_pickler
from .reasons import TooLarge, TooSlow, describe, place
from .recipes import known_logger
from .registry import Registry

_KEPT_BYTES = 256 * 1024 * 1024
"""How much of the first pickles is kept; what is beyond is pickled again."""
_REHEARSED_BYTES = 4 * 1024 * 1024
_SAMPLES = 100
_SAMPLED_BYTES = 64 * 1024
_RANKS = {"x:": 0, "g:": 0, "t:": 1, "l:": 2, "f:": 3, "c:": 4, "v:": 5}
"""The order of roots in a component: what is needed to make others comes first."""


class Root:
    """A variable or a definition on its way into a component."""

    def __init__(self, index: int, key: str, value, through: str) -> None:
        self.index = index
        self.key = key
        self.value = value
        self.through = through
        self.bytes = 0
        self.needs: set = set()
        self.notes: set = set()
        self.owners: set = set()
        """Arrays in whose memory it has others."""
        self.pickled: Pickled | None = None
        self.reason: str | None = None
        self.component: int | None = None
        self.likeness: str | None = None
        """As a component's, of a class or a variable by itself."""

    @property
    def title(self) -> str:
        """What a reason calls it."""
        kind, name = self.key[:2], self.key[2:].partition("@")[0].partition("#")[0]
        words = {"f:": "function", "c:": "class", "l:": "function", "t:": "type parameter"}
        if kind in words and name:
            return f"the {words[kind]} {name}"
        return "a variable of an enclosing function" if kind == "x:" else "the globals of a function"

    @property
    def is_variable(self) -> bool:
        return self.key[:2] == "v:"


class Pickled:
    """Roots as they were pickled together."""

    def __init__(self, roots: list, heads: list, pickler: Pickler, stages: list) -> None:
        self.roots = roots
        self.heads = heads
        self.pickler = pickler
        self.stages = stages

    def blob(self) -> Blob:
        named = [[root.key, count] for root, count in zip(self.roots, self.stages)]
        return Blob(named, self.heads, self.pickler.pieces, self.pickler.buffers)


class Component:
    """Roots that belong together."""

    def __init__(self, roots: list) -> None:
        self.roots = sorted(roots, key=lambda root: _RANKS[root.key[:2]])
        self.pickled: Pickled | None = None
        self.repeatable = False
        self.rehearsed = False
        self.likeness: str | None = None
        """See likeness.py; None where it has not been asked for, or cannot be had."""

    @property
    def needs(self) -> set:
        return set().union(*[root.needs for root in self.roots]) - {root.key for root in self.roots}


def variables_of(namespace: dict) -> dict:
    """What is captured of a namespace: everything but what Python itself puts there."""
    return {
        name: value
        for name, value in list(namespace.items())
        if type(name) is str and not (name[:2] == "__" and name[-2:] == "__")
    }


def pickle_together(registry, roots: list, limit: int, *, index=None, through: str = "", on=None) -> Pickled:
    """Pickles roots one after another. With an `index` shared objects are noted as that root's. `on(root, pickler)` is
    told which root is next."""
    current: list = []

    def told(root, pickler) -> None:
        current[:] = [pickler]
        if on is not None:
            on(root, pickler)

    def stop() -> None:
        for pickler in current:
            pickler.stopped = True

    arguments = (registry, index, through, limit)
    try:
        return _pickle_with(Pickler(*arguments), registry, roots, through, told)
    except RecursionError:
        return deeply(lambda: _pickle_with(slow_pickler(*arguments), registry, roots, through, told), stop)


def _pickle_with(pickler, registry, roots: list, through: str, on) -> Pickled:
    heads, stages = [], []
    for root in roots:
        on(root, pickler)
        if root.is_variable:
            values = [root.value]
        else:
            made, needs = head(registry, definitions.head_of(registry, root.key, root.value, through), through)
            heads.append(made)
            pickler.needs.update(needs)
            for key in definitions.named_in_head(registry, root.key, root.value):
                pickler.need(key)
            values = definitions.stages_of(registry, root.key, root.value)
        pickler.notes = root.notes
        for value in values:
            pickler.dump(value)
        stages.append(len(values))
    return Pickled(roots, heads, pickler, stages)


class Taking:
    """One capture of a namespace. `run` leaves `roots` by key, and the `components` of those that can be captured."""

    def __init__(self, state, sink, skip: dict, limits, compares: bool) -> None:
        self._compares = compares
        self._sink = sink
        self._skip = skip
        self._limits = limits
        self.registry = Registry(state)
        self.registry.find_containers()
        self.variables = variables_of(state.namespace)
        self.roots: dict = {}
        self.components: list = []
        self._order: list = []
        self._joins: set = set()
        self._defined = 0
        """How many definitions have been looked at."""
        self._kept = 0
        self._ends = _monotonic() + limits.seconds
        self._deadline = Deadline()

    def run(self) -> None:
        collects = gc.isenabled()
        gc.disable()
        try:
            with self._deadline, warnings.catch_warnings():
                warnings.simplefilter("ignore")
                self._look_at_all()
                self._group()
                self._settle()
                if self._compares:
                    self._liken()
        finally:
            if collects:
                gc.enable()

    def _bounded(self, roots: list, work):
        """Does what may run session code, within the time there is. Raises whatever that raises, as a rule TooSlow."""
        left = self._ends - _monotonic()
        if left <= 0:
            raise TooSlow("there was no time left for it")
        names = sorted({root.key[2:] if root.is_variable else root.through for root in roots})
        self._sink.working_on(names)
        try:
            self._deadline.start(min(self._limits.component_seconds, left))
            return work()
        finally:
            self._deadline.stop()

    # ── 1: each root by itself ──────────────────────────────────────────────────────────────────────────────

    def _look_at_all(self) -> None:
        for name, value in self.variables.items():
            root = self._add(f"v:{name}", value, name)
            if name in self._skip:
                root.reason = str(self._skip[name])
            else:
                self._look_at(root)
                self._look_at_definitions()
        # Dictionaries that were seen before they were known as the globals of a function.
        displaced, self.registry.displaced = self.registry.displaced, set()
        for one, other in self._joins:
            if one in displaced or other in displaced:
                displaced = displaced | {one, other}
        for index in displaced:
            self._look_at(self._order[index])
        self._look_at_definitions()

    def _look_at_definitions(self) -> None:
        values = self.registry.values
        while len(values) > self._defined:
            for key in list(values)[self._defined :]:
                self._defined += 1
                self._look_at(self._add(key, values[key], self.registry.through.get(key, "")))

    def _add(self, key: str, value, through: str) -> Root:
        root = self.roots[key] = Root(len(self._order), key, value, through)
        self._order.append(root)
        return root

    def _look_at(self, root: Root) -> None:
        started: list = []
        work = lambda: pickle_together(  # noqa: E731
            self.registry,
            [root],
            self._limits.variable_bytes,
            index=root.index,
            through=root.through,
            on=lambda _, pickler: started.append(pickler),
        )
        root.reason = None
        try:
            pickled = self._bounded([root], work)
        except BaseException as error:
            self._fail(root, error, started[-1] if started else None)
            return
        pickler = pickled.pickler
        root.bytes, root.owners = pickler.bytes, pickler.owners
        root.needs = {key for key in pickler.needs if key[:2] in _RANKS}
        self._joins |= pickler.joins
        self._kept += pickler.bytes
        root.pickled = pickled if self._kept <= _KEPT_BYTES else None

    def _fail(self, root: Root, error: BaseException, pickler) -> None:
        reason = describe(error)
        root.pickled = None
        if pickler is not None and not issubclass(type(error), (TooLarge, TooSlow, RecursionError)):
            name = root.key[2:].partition("@")[0]
            try:
                where = self._bounded([root], lambda: place(root.value, pickler.last, name))
            except BaseException:
                where = ""
            if where and (where != name or not root.is_variable):
                reason = f"{reason} at {where}"
        root.reason = reason

    # ── 2: what belongs together ────────────────────────────────────────────────────────────────────────────

    def _group(self) -> None:
        leaders = list(range(len(self._order)))

        def leader(index: int) -> int:
            while leaders[index] != index:
                leaders[index] = leaders[leaders[index]]
                index = leaders[index]
            return index

        # Also by roots that are left out: who shares an object with one of these may share it with each other.
        for one, other in self._joins:
            one, other = leader(one), leader(other)
            leaders[max(one, other)] = min(one, other)
        arrays = self.registry.arrays
        self.registry.shared_memory = {owner for owner, seen in arrays.items() if len(seen) > 1}
        aliased = {self.registry.shared[identity] for identity in self.registry.aliased.values()}
        groups: dict = {}
        for root in self._order:
            if root.reason is None:
                groups.setdefault(leader(root.index), []).append(root)
        for roots in groups.values():
            component = Component(roots)
            if len(roots) == 1 and not roots[0].owners & self.registry.shared_memory and roots[0].index not in aliased:
                component.pickled = roots[0].pickled
            for root in roots:
                root.pickled = None
            self.components.append(component)

    # ── 3 and 4: what can be captured, and read back ────────────────────────────────────────────────────────

    def _settle(self) -> None:
        """Ends when nothing more has to be left out: each turn leaves out something."""
        changed = True
        while changed:
            changed = self._leave_out()
            for component in self.components:
                while component.pickled is None and component.roots:
                    changed = self._pickle(component) or changed
            # Code that makes objects may count them, in names and in classes that are pickled again.
            names = self.registry.namespace.copy()
            kinds = [root.value for root in self._order if root.key[:2] == "c:"]
            attributes = [dict(classes.settable(kind)) for kind in kinds]
            for component in self.components:
                if not component.rehearsed and component.roots:
                    component.rehearsed = True
                    changed = self._rehearse(component) or changed
            self.registry.namespace.update(names)
            for kind, before in zip(kinds, attributes):
                classes.put_back(kind, before)
        total = 0
        for component in self.components:
            total += component.pickled.pickler.bytes
            if total > self._limits.total_bytes:
                total -= component.pickled.pickler.bytes
                for root in component.roots:
                    root.reason = f"the capture has reached {self._limits.total_bytes} bytes"
        if self._leave_out():
            self._settle()

    def _leave_out(self) -> bool:
        """Gives a reason to everything that needs what has one, and takes it out of its component."""
        waiting = [root for root in self._order if root.reason is None]
        needed_by: dict = {}
        for root in waiting:
            for key in root.needs:
                needed_by.setdefault(key, []).append(root)
        missing = [(key, "it makes new definitions whenever it is looked at") for key in needed_by if key not in self.roots]
        failed = missing + [(root.key, root.reason) for root in self._order if root.reason is not None]
        while failed:
            key, reason = failed.pop()
            for root in needed_by.get(key, ()):
                if root.reason is None:
                    title = self.roots[key].title if key in self.roots else ""
                    root.reason = f"it needs {title}: {reason}" if title and not reason.startswith("it needs") else reason
                    failed.append((root.key, root.reason))
        changed = False
        for component in self.components:
            left = [root for root in component.roots if root.reason is None]
            if len(left) < len(component.roots):
                changed = True
                component.roots, component.pickled, component.rehearsed = left, None, False
        self.components = [component for component in self.components if component.roots]
        return changed

    def _pickle(self, component: Component) -> bool:
        """Whether a root of the component failed, and was left out."""
        current: list = []
        limit = min(self._limits.variable_bytes * len(component.roots), self._limits.total_bytes)
        work = lambda: pickle_together(  # noqa: E731
            self.registry, component.roots, limit, on=lambda root, pickler: current.append((root, pickler))
        )
        try:
            component.pickled = self._bounded(component.roots, work)
            needs = component.pickled.pickler.needs
            component.roots[0].needs |= {key for key in needs if key[:2] in _RANKS and key not in self.roots}
            return False
        except BaseException as error:
            root, pickler = current[-1] if current else (component.roots[0], None)
            self._fail(root, error, pickler)
            component.roots = [one for one in component.roots if one is not root]
            return True

    def _rehearse(self, component: Component) -> bool:
        """Reads a component back. Whether it cannot be read, and is left out."""
        pickler = component.pickled.pickler
        if pickler.bytes > _REHEARSED_BYTES:
            self._sample(component)
            return False
        try:
            same, differences = self._bounded(component.roots, lambda: self._read_back(component.pickled))
        except BaseException as error:
            for root in component.roots:
                root.reason = f"it could not be read back: {describe(error)}"
            return True
        component.repeatable = same and not pickler.unordered
        for root in component.roots:
            root.notes |= differences
        return False

    def _sample(self, component: Component) -> None:
        """Of a component that is too large to be read back, compares an object of each class."""
        samples: dict = {}
        for _, one in component.pickled.pickler.memo.copy().values():
            samples.setdefault(id(type(one)), one)
        for one in list(samples.values())[:_SAMPLES]:
            try:
                found = self._bounded(component.roots, lambda: self._compare(one))  # noqa: B023
            except BaseException:
                continue  # It is too large, too, or takes part in what it cannot be without.
            for root in component.roots:
                root.notes |= found

    def _compare(self, value) -> set:
        pickler = Pickler(self.registry, None, "", _SAMPLED_BYTES)
        pickler.dump(value)
        reader = Unpickler(BytesIO(b"".join(pickler.pieces)), self._look_up, pickler.buffers)
        reader.load()
        return differences(pickler.memo.copy(), reader.memo.copy(), self.registry.pickles_plainly)

    def _look_up(self, key: str):
        return known_logger if key == "k:logger" else references.resolve(key, self.registry)

    def _read_back(self, pickled: Pickled) -> tuple:
        """Whether what is read pickles as what was written, and how it differs from what was there."""
        registry = self.registry
        written = b"".join(pickled.pickler.pieces)
        reader = Unpickler(BytesIO(written), self._look_up, pickled.pickler.buffers)
        again = Pickler(registry, None, "", 2 * _REHEARSED_BYTES)
        kept = [reader.load() for _ in range(sum(pickled.stages))]
        found = differences(pickled.pickler.memo.copy(), reader.memo.copy(), registry.pickles_plainly)
        try:
            for value in kept:
                again.dump(value)
        except RecursionError:
            return False, found
        same = b"".join(again.pieces) == written and len(again.buffers) == len(pickled.pickler.buffers)
        buffers = zip(again.buffers, pickled.pickler.buffers)
        return same and all([bytes(one) == bytes(other) for one, other in buffers]), found

    # ── 5: what it is like ──────────────────────────────────────────────────────────────────────────────────

    def _liken(self) -> None:
        likeness = Likeness(self.registry)
        for component in self.components:
            roots = component.roots
            if roots[-1].is_variable:
                component.likeness = self._try(roots, lambda: likeness.of(roots))  # noqa: B023
            # What variables share is looked at once for each of them: not for longer than there is for all.
            until = _monotonic() + self._limits.component_seconds
            for root in roots:
                if root.key[:2] == "c:":
                    root.likeness = self._try([root], lambda: likeness.of_class(root.value))  # noqa: B023
                elif len(roots) == 1:
                    root.likeness = component.likeness
                elif root.is_variable and _monotonic() < until:
                    root.likeness = self._try([root], lambda: likeness.of([root]))  # noqa: B023

    def _try(self, roots: list, work):
        """What the work gives; None where that cannot be had, or takes too long."""
        try:
            return self._bounded(roots, work)
        except BaseException:
            return None
