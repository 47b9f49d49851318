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

from . import replay
from .effects import is_replayable
from .sharing import in_common


def run(kernel, request: dict) -> dict:
    """Restores; gives `variables` and `replayed` of the answer. Runs session code."""
    from .capture import Restorer

    history = [_past(execution, request["effects"]) for execution in request["history"]]
    manifest = request["manifest"]
    restorer = None
    reports: dict = {}
    captured: dict = {}
    if manifest is not None:
        restorer = Restorer(kernel.state, manifest, fetcher(request["folder"]))
        captured = {variable["name"]: variable for variable in manifest["variables"]}
    later = _after(history, request["captured"], manifest is not None)
    # What the capture could not hold has, as a rule, a state that the lists of changes do not see.
    opaque = {name for name, one in captured.items() if one["component"] is None}
    past = replay.read(history, opaque)
    stale = _touched(later) | past.changed_since(len(history) - len(later))
    alive = past.variables.keys() | (captured.keys() - _touched(later))
    available = {name for name, one in captured.items() if one["component"] is not None and name not in stale}
    plan = replay.plan(past, alive - available, available)
    failed = _again(kernel, plan, history, restorer, reports)
    namespace = kernel._namespace
    made = _made(namespace, plan, failed, captured, restorer)
    for name in [name for name in namespace if not _is_pythons(name)]:
        del namespace[name]  # What was needed on the way only, and what comes from the capture.
    if restorer is not None:
        _take_in(reports, restorer.restore(available - made.values.keys()))
        _take_in(reports, [report for report in restorer.finish() if report["outcome"] == "lost"])
    for name in (alive - available) | made.values.keys():
        reports[name] = _judged(name, plan, failed, made, captured.get(name))
        if reports[name]["outcome"] != "lost":
            namespace[name] = made.values[name]
    kernel._watch.changes(frozenset())
    variables = sorted(reports.values(), key=lambda report: report["outcome"] != "lost")
    return {"variables": variables, "replayed": [one for one in plan.executions if one not in failed]}


class _Made:
    """What comes from executions that ran again."""

    def __init__(self, values: dict, executions: dict) -> None:
        self.values = values
        self.executions = executions
        """By name: those that it comes from."""
        self.parted: dict = {}
        """By name: variables from the capture with which it shared objects."""


def _made(namespace: dict, plan, failed: dict, captured: dict, restorer) -> _Made:
    """What is wanted of the replay, and what must come from it, too, because they have objects in common: as far as the
    replay makes it, and all that the capture has together with it, exactly what it was."""
    made = _Made({name: namespace[name] for name in plan.by_name if name in namespace}, dict(plan.by_name))
    remade = {name for name, root in plan.remade.items() if root not in failed and name in namespace}
    if restorer is None or not remade:
        return made
    apart = restorer.adopt(remade)
    others = {name: namespace[name] for name in remade if id(namespace[name]) not in apart}
    complete = {name for name in others if name in plan.complete and failed.keys().isdisjoint(plan.complete[name])}
    values = list(made.values.values())
    while values:
        names = in_common(values, others, apart)
        values = []
        for name in names:
            together = restorer.together(name)
            if together <= complete:
                made.values.update({one: others.pop(one) for one in together if one in others})
                values += [made.values[one] for one in together]
                made.executions.update({one: plan.complete[one] for one in together})
    for name, value in made.values.items():
        made.parted[name] = sorted(in_common([value], others, apart))
    return made


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


def _take_in(reports: dict, found: list) -> None:
    for report in found:
        reports[report["name"]] = {
            "name": report["name"],
            "outcome": report["outcome"],
            "executions": [],
            "reason": report["reason"],
        }


def _again(kernel, plan, history: list, restorer, reports: dict) -> dict:
    """Runs the plan's imports and executions; gives those that went otherwise than before, with what happened. What they
    do to the process is undone."""
    folder, environment = os.getcwd(), dict(os.environ)
    codes = {execution["id"]: execution["code"] for execution in history}
    failed: dict = {}
    done: set = set()
    for number, statement in enumerate(plan.imports):
        kernel.run_again(f"import_{number}", statement)  # What needs it says that it is not there.
    for execution in plan.executions:
        if plan.inputs[execution]:
            # What they have in common with what was made until now.
            restorer.adopt({name for name, root in plan.remade.items() if root in done})
            _take_in(reports, restorer.restore(set(plan.inputs[execution])))
        raised = kernel.run_again(execution, codes[execution])
        if (raised is not None) != (execution in plan.raises):
            failed[execution] = "raised nothing" if raised is None else f"raised {type(raised).__name__}"
        else:
            done.add(execution)
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)
    return failed


def _judged(name: str, plan, failed: dict, made: _Made, captured) -> dict:
    report = {"name": name, "outcome": "lost", "executions": [], "reason": plan.lost.get(name)}
    executions = made.executions.get(name)
    if executions is None:
        if captured is not None and captured["reason"]:
            report["reason"] = f"{captured['reason']}; {report['reason']}"
        return report
    broken = [one for one in executions if one in failed]
    if broken:
        report["reason"] = f"{broken[0]} was run again and {failed[broken[0]]}"
    elif name not in made.values:
        report["reason"] = "it was not there after the executions that made it"
    elif not executions:
        report["outcome"] = "restored"  # An import.
    else:
        report.update(outcome="recomputed", executions=list(executions))
        reasons = []
        if not plan.exact.get(name, True):
            reasons.append(
                "it depends on the clock, on chance, on a file that has changed or on an error, and may not be as it was"
            )
        if made.parted.get(name):
            others = ", ".join([f"`{other}`" for other in made.parted[name]])
            reasons.append(f"it had objects in common with {others}, restored from the capture, and has its own ones now")
        report["reason"] = "; ".join(reasons) or None
    return report
