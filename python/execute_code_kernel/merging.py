"""Brings variables of another session in, which were captured there. What they share with each other stays shared; classes
of cells that this session has, too, are this session's."""

from __future__ import annotations

from .private import builtins as __builtins__

from .recovery import fetcher


def run(kernel, request: dict) -> dict:
    """Gives `variables` and `classes` of the answer. Runs session code."""
    from .capture import Restorer

    restorer = Restorer(kernel.state, request["manifest"], fetcher(request["folder"]), own=True)
    reports = restorer.restore(set(request["names"]))
    variables = [
        {
            "name": report["name"],
            "outcome": "merged" if report["outcome"] == "restored" else "failed",
            "reason": report["reason"],
        }
        for report in reports
    ]
    kernel._watch.changes(frozenset())
    return {"variables": variables, "classes": restorer.differing}
