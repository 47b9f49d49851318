"""Work that needs a deep stack: long chains of objects, deeply nested lists."""

from __future__ import annotations

from ..private import builtins as __builtins__

from _thread import allocate_lock, stack_size, start_new_thread
from sys import getrecursionlimit, setrecursionlimit

_STACKS = ((512 * 1024 * 1024, 400_000), (64 * 1024 * 1024, 50_000))
"""Bytes of a stack, and the depth of recursion that it bears."""


def deeply(work, stop):
    """What `work()` gives, on a stack of its own; raises what it raises. When the wait is ended by an exception,
    `stop()` is to see that the work ends, too."""
    before, limit = stack_size(), getrecursionlimit()
    done = allocate_lock()
    outcome: list = []

    def run() -> None:
        try:
            outcome.append((True, work()))
        except BaseException as error:
            outcome.append((False, error))
        finally:
            done.release()

    done.acquire()
    try:
        for size, depth in _STACKS:
            stack_size(size)
            setrecursionlimit(max(limit, depth))
            try:
                start_new_thread(run, ())
                break
            except RuntimeError:
                continue  # There is no room for it.
        else:
            raise RecursionError
        try:
            done.acquire()
        except BaseException:
            stop()
            raise
    finally:
        stack_size(before)
        setrecursionlimit(limit)
    fine, found = outcome[0]
    if not fine:
        raise found
    return found
