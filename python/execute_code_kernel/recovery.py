"""Makes a fresh kernel's variables what they were in another process: from a capture, and by running executions again
that did nothing but compute.

What the capture holds and no later execution has changed comes from it. The rest is computed again, as far as that is
safe: never by an execution that wrote, used the network or started a process. Executions that are run again run before
the captured variables are bound, with those inputs that they had. Every variable is told of.
"""

from __future__ import annotations

from .private import builtins as __builtins__

import os
from mmap import ACCESS_READ, mmap

from . import replay
from .effects import is_replayable



def run(kernel, request: dict) -> dict:
    """Restores; gives `variables` and `replayed` of the answer. Runs session code."""
    from .capture import Restorer

    history = [_past(execution) for execution in request["history"]]
    names = _names(history)
    manifest = request["manifest"]
    restorer = None
    reports: dict = {}
    captured: dict = {}
    if manifest is not None:
        restorer = Restorer(kernel.state, manifest, fetcher(request["folder"]))
        captured = {variable["name"]: variable for variable in manifest["variables"]}
    later = _after(history, request["captured"], manifest is not None)
    stale = _touched(later)
    alive = _alive(names, captured, later)
    available = {name for name, one in captured.items() if one["component"] is not None and name not in stale}
    wanted = alive - available
    plan = replay.plan(history, wanted, available)
    if restorer is not None and plan.inputs:
        _take_in(reports, restorer.restore(set(plan.inputs)))
    failed = _again(kernel, plan, history)
    recomputed = {name: kernel._namespace[name] for name in wanted if name in kernel._namespace}
    if restorer is not None:
        _take_in(reports, restorer.restore(available - set(plan.inputs)))
        _take_in(reports, [report for report in restorer.finish() if report["outcome"] == "lost"])
    kernel._namespace.update(recomputed)
    for name in wanted:
        reports[name] = _judged(name, plan, failed, recomputed, captured.get(name))
    for name in [name for name in kernel._namespace if name not in alive and not name.startswith("__")]:
        if name not in reports:
            del kernel._namespace[name]  # Something on the way, that was deleted since.
    kernel._watch.changes(frozenset())
    order = {name: at for at, name in enumerate(names)}
    variables = sorted(reports.values(), key=lambda report: order.get(report["name"], len(order)))
    return {"variables": variables, "replayed": [one for one in plan.executions if one not in failed]}


def _past(execution: dict) -> dict:
    """An execution as `replay.plan` takes it."""
    replayable, why_not, exact = is_replayable(execution["effects"])
    return {**execution, "replayable": replayable, "why_not": why_not, "exact": exact}


def _names(history: list) -> list:
    """All names that there were, in the order in which they came."""
    found: dict = {}
    for execution in history:
        for name in (*execution["added"], *execution["changed"]):
            found[name] = True
    return list(found)


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


def _alive(names: list, captured: dict, later: list) -> set:
    """The variables that there are at the end."""
    alive = set(captured)
    for execution in later:
        alive.update(execution["added"])
        alive.update(execution["changed"])
        alive.difference_update(execution["deleted"])
    return alive


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


def _again(kernel, plan, history: list) -> dict:
    """Runs the plan's executions; gives those that failed, with what they raised."""
    codes = {execution["id"]: execution["code"] for execution in history}
    failed: dict = {}
    for execution in plan.executions:
        raised = kernel.run_again(execution, codes[execution])
        if raised is not None:
            failed[execution] = type(raised).__name__
    return failed


def _judged(name: str, plan, failed: dict, recomputed: dict, captured) -> dict:
    executions = plan.by_name.get(name, [])
    report = {"name": name, "outcome": "lost", "executions": [], "reason": None}
    broken = [one for one in executions if one in failed]
    if broken:
        report["reason"] = f"{broken[0]} was run again and raised {failed[broken[0]]}"
    elif executions and name in recomputed:
        report.update(outcome="recomputed", executions=list(executions))
        if not plan.exact.get(name, True):
            report["reason"] = "it depends on the clock or on chance, and is not as it was"
    else:
        report["reason"] = plan.lost.get(name) or "it was not there after the executions that made it"
        if captured is not None and captured["reason"] and name not in recomputed:
            report["reason"] = f"{captured['reason']}; {report['reason']}"
    return report
