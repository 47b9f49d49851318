"""The state of Python itself that a session changes: compared with what it was when the kernel started.

Paths of modules, the current folder, the environment, random numbers, decimal's context, future imports of the
compiler, the recursion limit, numpy's old random numbers when numpy is there. The root logger goes with it when it has
handlers or another level.
"""

from __future__ import annotations

from ..private import builtins as __builtins__

import os
import sys

from ..private import MODULES
from . import references
from .pickling import Blob, Opened, Pickler
from .reasons import Refused, describe


def _field(baseline, name: str):
    """A field of the baseline, whether it is an object or a dictionary."""
    return baseline.get(name) if type(baseline) is dict else getattr(baseline, name, None)


def take(state, registry) -> tuple:
    """A part of the manifest, and the blob that goes with it."""
    baseline = state.baseline
    plain: dict = {"flags": state.flags}
    before, now = _field(baseline, "path"), [entry for entry in sys.path if type(entry) is str]
    if before is not None and now != list(before):
        plain["path"] = {
            "added": [[index, entry] for index, entry in enumerate(now) if entry not in before],
            "removed": [entry for entry in before if entry not in now],
        }
    try:
        cwd = os.getcwd()
    except OSError:
        cwd = None
    if cwd is not None and cwd != _field(baseline, "cwd"):
        plain["cwd"] = cwd
    environ, start = dict(os.environ), _field(baseline, "environ")
    if start is not None:
        changed = {name: value for name, value in environ.items() if start.get(name) != value}
        removed = [name for name in start if name not in environ]
        if changed or removed:
            plain["environ"] = {"changed": changed, "removed": removed}
    if sys.getrecursionlimit() != (_field(baseline, "recursion_limit") or 1000):
        plain["recursion_limit"] = sys.getrecursionlimit()
    content, pickles = {}, []
    for name, look in _PICKLED.items():
        try:
            found = look()
            if found is None:
                continue
            # Each by itself: one that refuses does not take the others with it.
            Pickler(registry, None, "", 1 << 26).dump(found)
            content[name] = found
        except BaseException as error:
            plain.setdefault("lost", {})[name] = describe(error)
    pickler = Pickler(registry, None, "", 1 << 26)
    for name, value in content.items():
        pickler.dump(value)
        pickles.append([f"v:{name}", 1])
    return plain, Blob(pickles, [], pickler.pieces, pickler.buffers)


def _random():
    module = MODULES.get("random")
    return None if module is None else module.getstate()


def _numpy_random():
    module = MODULES.get("numpy.random")
    return None if module is None else module.get_state()


def _decimal():
    module = MODULES.get("decimal")
    if module is None:
        return None
    context = module.getcontext()
    state = (context.prec, context.rounding, context.Emin, context.Emax, context.capitals, context.clamp,
             *[sorted([signal.__name__ for signal, on in signals.items() if on]) for signals in (context.traps, context.flags)])  # fmt: skip
    usual = (28, "ROUND_HALF_EVEN", -999999, 999999, 1, 0, ["DivisionByZero", "InvalidOperation", "Overflow"], [])
    return None if state == usual else state


def _logging():
    module = MODULES.get("logging")
    if module is None or (not module.root.handlers and module.root.level == module.WARNING):
        return None
    return module.root


_PICKLED = {"random": _random, "numpy.random": _numpy_random, "decimal": _decimal, "logging": _logging}


class Restoring:
    """The way back, in two steps: what imports depend on comes before variables, all else after them."""

    def __init__(self, state, record: dict | None, blob, registry) -> None:
        """`blob(digest)` gives a blob, or raises Refused."""
        self._state = state
        self._record = record
        self._blob = blob
        self._registry = registry
        self._begun = False
        self._reports: list = []

    def begin(self) -> None:
        """Paths of modules, folder and environment."""
        if self._begun or self._record is None:
            return
        self._begun = True
        plain = self._record["plain"]
        if "path" in plain:
            self._part("sys.path", lambda: _restore_path(plain["path"]))
        if "cwd" in plain:
            self._part("os.getcwd()", lambda: _change_folder(plain["cwd"]))
        if "environ" in plain:
            self._part("os.environ", lambda: _restore_environment(plain["environ"]))

    def finish(self) -> list:
        """All else; reports on each part that was not as at the start."""
        self.begin()
        if self._record is None:
            return []
        plain = self._record["plain"]
        self._state.flags = plain["flags"]
        if "recursion_limit" in plain:
            self._part("sys.getrecursionlimit()", lambda: sys.setrecursionlimit(plain["recursion_limit"]))
        for name, reason in plain.get("lost", {}).items():
            self._lost(name, reason)
        if self._record["digest"] is not None:
            self._finish_pickled()
        reports, self._reports = self._reports, []
        return reports

    def _finish_pickled(self) -> None:
        try:
            opened = Opened(self._blob(self._record["digest"]))
        except Refused as error:
            for name in self._record["parts"]:
                self._lost(name, describe(error))
            return
        unpickler = opened.unpickler(lambda key: references.resolve(key, self._registry))
        for key, _ in opened.roots:
            self._part(key[2:], lambda name=key[2:]: _PUT[name](unpickler.load()))

    def _part(self, name: str, work) -> None:
        try:
            work()
        except (KeyboardInterrupt, SystemExit):
            raise
        except BaseException as error:
            self._lost(name, describe(error))
        else:
            self._reports.append({"name": name, "outcome": "restored", "reason": None, "verified": True, "by": "digest"})

    def _lost(self, name: str, reason: str) -> None:
        self._reports.append({"name": name, "outcome": "lost", "reason": reason, "verified": False, "by": None})


def _restore_path(change: dict) -> None:
    sys.path[:] = [entry for entry in sys.path if entry not in change["removed"]]
    for index, entry in change["added"]:
        if entry not in sys.path:
            sys.path.insert(index, entry)


def _change_folder(folder: str) -> None:
    try:
        os.chdir(folder)
    except OSError:
        raise Refused(f"the folder {folder} is not there") from None


def _restore_environment(change: dict) -> None:
    os.environ.update(change["changed"])
    for name in change["removed"]:
        os.environ.pop(name, None)


def _put_decimal(state: tuple) -> None:
    import decimal

    prec, rounding, least, most, capitals, clamp, *signals = state
    # The very context: variables may refer to it.
    context = decimal.getcontext()
    context.prec, context.rounding, context.Emin, context.Emax = prec, rounding, least, most
    context.capitals, context.clamp = capitals, clamp
    for table, names in zip((context.traps, context.flags), (*signals, [])):
        for signal in table:
            table[signal] = signal.__name__ in names


_PUT = {
    "random": lambda found: references.module("random").setstate(found),
    "numpy.random": lambda found: references.module("numpy.random").set_state(found),
    "decimal": _put_decimal,
    "logging": lambda found: None,
}
