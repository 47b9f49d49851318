"""What goes on after an execution's end, and whose output it writes.

Threads, asyncio tasks and processes that an execution leaves behind belong to it: their output goes to its FIFOs, also
while later executions run with FIFOs of their own. Processes inherit them. Threads and tasks share descriptors 1 and 2
with the running cell, so the streams ask `descriptor` before they write.

A worker thread of a pool belongs to whoever gives it work; its output is the running execution's. So is what a thread
writes to a descriptor by itself, or a callback of the event loop that is no task, or a thread that `threading` did not
start.
"""

from __future__ import annotations

from .private import builtins as __builtins__

from _thread import _count as _thread_count
from _thread import get_ident
from contextvars import ContextVar
from os import P_ALL, WEXITED, WNOHANG, WNOWAIT, close, waitid
from resource import RUSAGE_CHILDREN, getrusage
from types import FunctionType

from .previews import instance_dict
from .private import MODULES

_origin: ContextVar = ContextVar("execution")
_POOLS = ("/concurrent/futures/thread.py", "/multiprocessing/pool.py")


class Background:
    """Knows the threads, tasks and processes that executions left behind."""

    def __init__(self) -> None:
        self.routes: dict[str, tuple[int, int]] = {}
        """Descriptors of stdout and stderr by execution: of those whose FIFOs are not descriptors 1 and 2 any more."""
        self._main = get_ident()
        self._threads: dict[int, str] = {}
        self._tasks = None
        self._faults = getrusage(RUSAGE_CHILDREN).ru_minflt

    def begin(self, execution: str) -> None:
        """What begins from now on belongs to this execution."""
        _origin.set(execution)

    @staticmethod
    def origin():
        """The execution that the running task or callback belongs to, or None."""
        return _origin.get(None)

    def descriptor(self, stream: int):
        """Where the caller's output to stream 0 (stdout) or 1 (stderr) goes, or None: where descriptors 1 and 2 go."""
        origin = _origin.get(None) or self._threads.get(get_ident())
        route = self.routes.get(origin)
        return None if route is None else route[stream]

    def end(self, execution: str, tasks) -> bool:
        """Whether the execution leaves something behind. `tasks` are the event loop's."""
        threads = self._new_threads(execution)
        tasks = self._new_tasks(execution, tasks)
        processes = self._new_processes()
        if self.routes:
            self._close_routes()
        return threads or tasks or processes

    def keep(self, execution: str, descriptors: tuple[int, int]) -> None:
        """The execution's descriptors are 1 and 2 no more."""
        if self._is_alive(execution):
            self.routes[execution] = descriptors
        else:
            for descriptor in descriptors:
                close(descriptor)

    def drop(self, execution: str) -> None:
        """Nobody reads the execution's FIFOs any more."""
        for descriptor in self.routes.pop(execution, ()):
            try:
                close(descriptor)
            except OSError:
                pass  # Session code closed it.

    def after_fork(self) -> None:
        """This process has one thread, and nothing of what its parent had."""
        self._main = get_ident()
        self._threads.clear()
        self.routes.clear()

    def leave(self, descriptors) -> None:
        """In a branch: the FIFOs of what earlier executions left behind are its parent's."""
        for descriptor in descriptors:
            try:
                close(descriptor)
            except OSError:
                pass  # Session code closed it.
        self.overlook()

    def overlook(self) -> None:
        """The processes that have ended until now were none of an execution's."""
        self._faults = getrusage(RUSAGE_CHILDREN).ru_minflt

    def _new_threads(self, execution: str) -> bool:
        if _thread_count() == 0:
            self._threads.clear()
            return False
        # Never sys._current_frames(): threads that run meanwhile are damaged by it, up to 3.13.
        active = dict(getattr(MODULES.get("threading"), "_active", {}))
        known = {ident: origin for ident, origin in self._threads.items() if ident in active}
        new = [ident for ident in active if ident not in known and ident != self._main]
        new = [ident for ident in new if not _is_pool(active[ident])]
        self._threads = {**known, **dict.fromkeys(new, execution)}
        return bool(new)

    def _new_tasks(self, execution: str, tasks) -> bool:
        if not tasks:
            return False
        if self._tasks is None:
            from weakref import WeakKeyDictionary

            self._tasks = WeakKeyDictionary()
        new = [task for task in tasks if task not in self._tasks]
        for task in new:
            self._tasks[task] = execution
        return bool(new)

    def _new_processes(self) -> bool:
        """Whether there are children, or were: then they may have left orphans."""
        faults = getrusage(RUSAGE_CHILDREN).ru_minflt
        ended, self._faults = faults != self._faults, faults
        try:
            waitid(P_ALL, 0, WEXITED | WNOHANG | WNOWAIT)
        except ChildProcessError:
            return ended
        return True

    def _is_alive(self, execution: str) -> bool:
        if execution in self._threads.values():
            return True
        return any([origin == execution and not task.done() for task, origin in list((self._tasks or {}).items())])

    def _close_routes(self) -> None:
        for execution in list(self.routes):
            if not self._is_alive(execution):
                self.drop(execution)


def _is_pool(thread) -> bool:
    """Whether a thread is the worker of a pool."""
    target = (instance_dict(thread) or {}).get("_target")
    return type(target) is FunctionType and target.__code__.co_filename.endswith(_POOLS)
