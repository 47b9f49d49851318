"""Brings variables of another session in, which were captured there. What they share with each other stays shared; classes
of cells that this session has, too, are this session's (see capture/merging.py)."""

from __future__ import annotations

from .private import builtins as __builtins__

from .recovery import fetcher


def run(kernel, request: dict) -> dict:
    """Gives `variables` and `classes` of the answer. Runs session code."""
    from .capture.merging import Merger

    names = set(request["names"])
    merger = Merger(kernel.state, request["manifest"], fetcher(request["folder"]), names)
    try:
        reports = merger.restore(names)
        differing = merger.differing
    finally:
        merger.close()
    variables = [
        {
            "name": report["name"],
            "outcome": "merged" if report["outcome"] == "restored" else "failed",
            "reason": report["reason"],
        }
        for report in reports
    ]
    kernel._watch.changes(frozenset())
    return {"variables": variables, "classes": differing}
