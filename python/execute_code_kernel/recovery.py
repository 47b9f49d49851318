"""Makes a fresh kernel's variables what they were in another process: from a capture, and by running executions again
that did nothing but compute.

What the capture holds and no later execution has changed comes from it. The rest is computed again, as far as that is
safe: never by an execution that wrote, used the network or started a process. Executions that are run again run before
the captured variables are bound, with those inputs that they had. Definitions that they make are taken for the
capture's, and containers that both have are the replay's, where it makes them whole. Every variable is told of.
"""

from __future__ import annotations

from .private import builtins as __builtins__

import os
from datetime import datetime
from mmap import ACCESS_READ, mmap
from types import ModuleType

from . import replay
from .effects import is_replayable
from .fingerprints import look_closely, out_of_sight
from .sharing import changeable, has_finalizer, in_common, is_definition, leads_to

_REMEMBERED = 1_000
"""So many objects of one variable."""
_kept: list = []
"""Objects of replays that nobody needs, and that would do something at their end."""
_UNCHANGING = ("int", "float", "bool", "complex", "str", "bytes", "NoneType", "module")


def run(kernel, request: dict) -> dict:
    """Restores; gives `variables` and `replayed` of the answer. Runs session code."""
    recovery = _Recovery(kernel, request)
    try:
        return recovery.run()
    finally:
        recovery.close()


class _Recovery:
    """One restore: planned when it is made, carried out by `run`."""

    def __init__(self, kernel, request: dict) -> None:
        from .capture import Restorer

        self._kernel = kernel
        self._namespace = kernel._namespace
        self._reports: dict = {}
        manifest = request["manifest"]
        self._restorer = None if manifest is None else Restorer(kernel.state, manifest, fetcher(request["folder"]))
        self._captured = {} if manifest is None else {variable["name"]: variable for variable in manifest["variables"]}
        history = [_past(execution, request["effects"]) for execution in request["history"]]
        later = _after(history, request["captured"], manifest is not None)
        self._captured_at = len(history) - len(later)
        self._codes = {execution["id"]: execution["code"] for execution in history}
        # What the capture could not hold has, as a rule, a state that the lists of changes do not see.
        opaque = {name for name, one in self._captured.items() if one["component"] is None}
        held = self._captured.keys() - opaque
        self._past = replay.read(history, opaque, self._captured_at, held)
        stale = _touched(later) | self._past.changed_since(self._captured_at)
        alive = self._past.variables.keys() | (self._captured.keys() - _touched(later))
        if manifest is not None:  # It has all that was there: what only a text may have bound before was not.
            alive &= self._captured.keys() | self._past.changed_since(self._captured_at)
        self._available = held - stale
        self._wanted = alive - self._available
        self._altered = {name for name in self._wanted & held if self._past.only_changed_since(self._captured_at, name)}
        """Wanted variables that the capture has as they were before some of their insides changed."""
        self._plan = replay.plan(self._past, self._wanted, self._available)
        self._failed: dict = {}
        """Executions that went otherwise than before, with what happened."""
        self._done: set = set()
        self._made: dict = {}
        """By name: what comes from executions that ran again."""
        self._executions = dict(self._plan.by_name)
        """By name: those that it comes from."""
        self._parted: dict = {}
        """By name: variables from the capture with which it had objects in common."""
        self._looks: dict = {}
        """By name: fingerprints of these variables, before the executions."""
        self._given: dict = {}
        """Variables from the capture that executions were run with, by their names."""
        self._doubtful: dict = {}
        """By name: those with which it may have had some."""
        self._passed: dict = {}
        """By identity: what executions that ran again had bound to names at their ends; by which of them."""
        self._outdated: dict = {}
        """By identity: what is there, reached by others, and not what it was in the end; name, what changed it, and it
        itself."""

    def run(self) -> dict:
        self._run_again()
        self._take_made()
        left = {name: self._namespace.pop(name) for name in [*self._namespace] if not _is_pythons(name)}
        if self._restorer is not None:
            self._restore()
        for name in (self._wanted | self._made.keys()) - self._altered:
            self._judge(name)
        for name, value in left.items():
            # What was needed on the way only. A finalizer would do again what it did.
            if self._namespace.get(name) is not value and has_finalizer(value):
                _kept.append(value)
        left.clear()
        for report in self._reports.values() if self._outdated else ():
            if report["outcome"] != "lost" and report["reason"] is None and report["name"] in self._namespace:
                found = [self._outdated[one][:2] for one in leads_to(self._namespace[report["name"]], self._outdated)]
                if found:
                    report["reason"] = "it has `{}`, which {} changed, and that is not in it".format(*min(found))
        self._kernel._watch.changes(frozenset())
        # What was an input only is not told of: the session had deleted it.
        told = [one for one in self._reports.values() if one["outcome"] == "lost" or one["name"] in self._namespace]
        variables = sorted(told, key=lambda report: report["outcome"] != "lost")
        return {"variables": variables, "replayed": [one for one in self._plan.executions if one in self._done]}

    def close(self) -> None:
        if self._restorer is not None:
            self._restorer.close()

    # ── executions that run again ───────────────────────────────────────────────────────────────────────────

    def _run_again(self) -> None:
        """Runs the plan's imports and executions. What they do to the process is undone."""
        plan = self._plan
        if self._restorer is not None and plan.executions + plan.imports:
            self._restorer.begin()
        folder, environment = os.getcwd(), dict(os.environ)
        for number, statement in enumerate(plan.imports):
            self._kernel.run_again(f"import_{number}", statement)  # What needs it says that it is not there.
        for execution in plan.executions:
            if plan.inputs[execution]:
                self._adopt()  # What they have in common with what was made until now.
                for name in plan.inputs[execution]:
                    self._pass(name, self._past.made_by(name))
                self._take_in(self._restorer.restore(set(plan.inputs[execution])))
                for name in plan.inputs[execution]:
                    value = self._given[name] = self._namespace.get(name)
                    self._looks.setdefault(name, look_closely(value))
            raised = self._kernel.run_again(execution, self._codes[execution])
            if (raised is not None) == (execution in plan.raises):
                self._done.add(execution)
            else:
                self._failed[execution] = "raised nothing" if raised is None else f"raised {type(raised).__name__}"
            for name in self._past.touched(execution):
                if plan.roots.get(name) != execution:
                    self._pass(name, execution)
        os.chdir(folder)
        os.environ.clear()
        os.environ.update(environment)

    def _pass(self, name: str, execution: str) -> None:
        """What a name is bound to now will be known by that name no more."""
        if name in self._namespace:
            for identity in changeable([self._namespace[name]], set(), _REMEMBERED):
                self._passed.setdefault(identity, set()).add(execution)

    def _adopt(self) -> None:
        """Definitions that were made again become the capture's."""
        there = {name for name, root in self._plan.roots.items() if root in self._done and name in self._namespace}
        given = set().union(*self._plan.inputs.values())
        self._restorer.adopt(there & (self._altered - given), filled=True)
        self._restorer.adopt(there & (self._available | given))

    def _take_made(self) -> None:
        """Takes what is wanted of the replay, and what must come from it, too, because they have objects in common: as
        far as the replay makes it, and all that the capture has together with it, exactly what it was."""
        plan, namespace = self._plan, self._namespace
        self._made = {name: namespace[name] for name in plan.by_name if name in namespace}
        for name in plan.lost.keys() & namespace.keys():
            value = namespace[name]
            is_there = self._past.made_by(name) in self._done or (name in self._altered and name in self._given)
            if is_there and (is_definition(value) or changeable([value], set(), 1)):
                self._outdate(name)
        if self._restorer is None or not plan.roots:
            return
        self._adopt()
        # What gets the capture's content, or is the capture's.
        apart = self._restorer.adopted(filled=False)
        apart |= changeable(self._given.values(), apart)
        filled = self._restorer.adopted(filled=True)
        others = {
            name: namespace[name]
            for name, root in plan.roots.items()
            if name in self._available and root in self._done and id(namespace.get(name)) not in apart
        }
        complete = {
            name
            for name, value in others.items()
            # Others in the capture may have a definition, however it is kept.
            if name in plan.complete and self._done.issuperset(plan.complete[name]) and not is_definition(value)
        }
        values = list(self._made.values())
        while values and others:
            names = in_common(values, others, apart, filled)
            values = []
            for together in map(self._restorer.together, names):
                if together <= complete and together <= others.keys():
                    taken = {one: others.pop(one) for one in together}
                    values += taken.values()
                    self._made.update(taken)
                    self._executions.update({one: plan.complete[one] for one in together})
        for name in plan.roots:
            self._passed.pop(id(namespace.get(name)), None)  # It is still known by its name.
        rest = (self._available - self._made.keys()) | self._given.keys()
        rest = {name for name in rest if self._captured[name]["type"] not in _UNCHANGING}
        origins = {name: self._past.origins(name) for name in rest} if self._passed else {}
        for name, value in self._made.items():
            parted = in_common([value], others, apart, filled) if others else set()
            self._parted[name] = sorted(parted)
            if origins:
                by = set().union(*[self._passed[one] for one in changeable([value], apart) & self._passed.keys()])
                self._doubtful[name] = sorted([one for one in rest - parted - {name} if by & origins[one]])

    def _outdate(self, name: str) -> str:
        """What has this name is not what it was in the end; gives what changed it."""
        value, by = self._namespace[name], self._past.last_changed_by(name)
        self._outdated[id(value)] = (name, by, value)
        return by

    # ── variables from the capture ──────────────────────────────────────────────────────────────────────────

    def _restore(self) -> None:
        self._take_in(self._restorer.restore(self._available - self._made.keys()))
        self._take_in([report for report in self._restorer.finish() if report["outcome"] == "lost"])
        uses = self._past.uses(self._captured_at)
        for report in self._reports.values():
            if report["outcome"] == "restored" and report["reason"] is None and report["name"] in self._namespace:
                report["reason"] = self._doubt(report["name"], uses)
                if report["name"] in self._given and look_closely(self._given[report["name"]]) != self._looks[report["name"]]:
                    report["reason"] = "executions that were run again have changed it, which they had not before"
        # Functions and classes: better with an older state than not at all.
        self._altered = {name for name in self._altered & self._plan.lost.keys() if self._restorer.names_definition(name)}
        self._take_in(self._restorer.restore(self._altered))
        for name in self._altered:
            if self._reports[name]["outcome"] == "restored":
                by = self._outdate(name)
                self._reports[name]["reason"] = f"{by} changed it after the capture, and that is not in it: {self._plan.lost[name]}"

    def _doubt(self, name: str, uses: dict) -> str | None:
        """Which later execution may have changed a variable where no look reaches."""
        used = [uses[one] for one in self._restorer.together(name) if one in uses]
        if not used:
            return None
        unseen = out_of_sight(self._namespace[name], close=name in uses)
        if unseen is not None and all([type(one) is ModuleType or self._restorer.is_data(one) for one in unseen]):
            return None
        return f"{max(used)[1]} used it after the capture; a change where no look reaches is not in it"

    # ── reports ─────────────────────────────────────────────────────────────────────────────────────────────

    def _take_in(self, found: list) -> None:
        for report in found:
            self._reports[report["name"]] = {
                "name": report["name"],
                "outcome": report["outcome"],
                "executions": [],
                "reason": report["reason"],
            }

    def _judge(self, name: str) -> None:
        """Binds what is not the capture's, if there is something to bind, and reports."""
        report = {"name": name, "outcome": "lost", "executions": [], "reason": self._plan.lost.get(name)}
        self._reports[name] = report
        executions = self._executions.get(name)
        if executions is None:
            captured = self._captured.get(name)
            if captured is not None and captured["reason"]:
                report["reason"] = f"{captured['reason']}; {report['reason']}"
            return
        broken = [one for one in executions if one in self._failed]
        if broken:
            report["reason"] = f"{broken[0]} was run again and {self._failed[broken[0]]}"
            return
        if name not in self._made:
            report["reason"] = "it was not there after the executions that made it"
            if name not in self._captured and not self._past.has_seen(name):
                del self._reports[name]  # A text may bind it, and did not.
            return
        self._namespace[name] = self._made[name]
        if not executions:
            report["outcome"] = "restored"  # An import.
            return
        reasons = []
        if not self._plan.exact.get(name, True):
            reasons.append(
                "it depends on the clock, on chance, on a file that has changed or on an error, and may not be as it was"
            )
        read = set().union(*[self._past.reads(one) for one in executions])
        for source in sorted(read & self._given.keys() - {name}):
            said = self._reports.get(source)
            if said is not None and said["outcome"] == "restored" and said["reason"] is not None:
                reasons.append(f"it comes of `{source}`, of which it is said: {said['reason']}")
        for had, others in (("had", self._parted.get(name)), ("may have had", self._doubtful.get(name))):
            if others:
                names = ", ".join([f"`{other}`" for other in others])
                reasons.append(f"it {had} objects in common with {names}, which come from the capture, and has its own ones now")
        report.update(outcome="recomputed", executions=list(executions), reason="; ".join(reasons) or None)


def _is_pythons(name) -> bool:
    return type(name) is str and name[:2] == "__" and name[-2:] == "__"


def _past(execution: dict, effects: bool) -> dict:
    """An execution as `replay.plan` takes it; with `effects` none is spared for what it did outside."""
    replayable, why_not, exact = is_replayable(execution["effects"])
    exact = exact and replayable and not _read_what_has_changed(execution)
    return {**execution, "replayable": replayable or effects, "why_not": why_not, "exact": exact}


def _read_what_has_changed(execution: dict) -> bool:
    """Whether a file that it read is another one since, or may be."""
    targets = [effect["target"] for effect in execution["effects"] if effect["kind"] == "read"]
    if not targets:
        return False
    began = datetime.strptime(execution["started_at"], "%Y-%m-%dT%H:%M:%S.%f%z").timestamp()
    try:
        return any([os.stat(target).st_mtime > began for target in targets])
    except (OSError, ValueError):
        return True  # It is not there any more, or more were read than can be listed.


def _after(history: list, captured, has_capture: bool) -> list:
    """The executions that the capture does not know of."""
    if not has_capture:
        return history
    for at, execution in enumerate(history):
        if execution["id"] == captured:
            return history[at + 1 :]
    return history if captured is None else []


def _touched(executions: list) -> set:
    return {name for one in executions for name in (*one["added"], *one["changed"], *one["deleted"])}


def fetcher(folder: str):
    """Contents by their digests, from the folder into which the daemon has put them."""

    def fetch(digest: str):
        with open(os.path.join(folder, digest), "rb") as file:
            if os.fstat(file.fileno()).st_size == 0:
                return b""
            return mmap(file.fileno(), 0, access=ACCESS_READ)

    return fetch
