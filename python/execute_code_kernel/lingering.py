"""What is at work beside the cell: threads, pools that have work, tasks and callbacks of the event loop, timers. What
an execution leaves at work does after its end what nobody attributes to it.

Not at work are workers of pools that wait for work, and threads of libraries that only look after others.
"""

from __future__ import annotations

from .private import builtins as __builtins__

import sys
from _signal import ITIMER_PROF, ITIMER_REAL, ITIMER_VIRTUAL, getitimer
from _thread import _count as _thread_count
from _thread import get_ident
from collections import deque
from types import FunctionType, MethodType

from .background import Background
from .previews import instance_dict, lookup, offered, type_name

_EXECUTOR = "/concurrent/futures/thread.py"
_WAITING = (
    "/multiprocessing/pool.py", "/multiprocessing/queues.py", "/concurrent/futures/process.py",
    "/loky/process_executor.py", "/loky/backend/queues.py", "/tqdm/_monitor.py",
)  # fmt: skip
"""Where threads come from that hold what they have to do in a dictionary or a queue, if they have anything to do."""
_COUNTS_TOO_MANY = sys.version_info < (3, 12)
"""Whether a pool of threads may take some for idle that are not. Each may overlook idle ones, but never all of them."""
EVENTS = "asyncio.events"
_TIMERS = (ITIMER_REAL, ITIMER_VIRTUAL, ITIMER_PROF)
_NAME_CHARS = 100


class Others:
    """Who is at work at one moment."""

    def __init__(self) -> None:
        self._threads: dict = {}
        """Threads by their identity; each is kept, so that no other one gets it."""
        self._unnamed = 0
        """How many threads there are, of those that have begun, that `threading` knows nothing of."""
        self._pools: dict = {}
        """By the identity of an executor: itself, and how many threads, idle ones and waiting calls it has."""
        self._tasks: frozenset = frozenset()
        self._loop = None
        self._timers = False

    def left_since(self, earlier: Others | None, execution: str) -> list[str]:
        """What is at work now and was not then, in words; None stands for nobody."""
        earlier = earlier or Others()
        left = [_in_words(one) for key, one in self._threads.items() if key not in earlier._threads]
        if self._unnamed > earlier._unnamed:
            left.append("a thread goes on")
        if any([_is_busy(pool, earlier._pools.get(key)) for key, pool in self._pools.items()]):
            left.append("a pool of threads goes on")
        if self._tasks - earlier._tasks:
            left.append("a task goes on")
        elif self._loop is not None and _has_callback(self._loop, execution):
            left.append("a callback of the event loop is to come")
        if self._timers and not earlier._timers:
            left.append("a timer goes on")
        return left

    def add_threads(self) -> None:
        active = dict(offered("threading", "_active") or ())
        active.pop(get_ident(), None)
        self._unnamed = max(0, _thread_count() - len(active))
        for thread in active.values():
            file, attributes = _origin(thread), instance_dict(thread) or {}
            arguments = attributes.get("_args")
            arguments = arguments if type(arguments) is tuple else ()
            if file.endswith(_EXECUTOR) and arguments:
                executor = arguments[0]()
                if executor is not None:
                    self._pools[id(executor)] = executor, _figures(executor)
                    continue
            elif file.endswith(_WAITING):
                held = (*arguments, attributes.get("pending_work_items"))
                if not any([one for one in held if type(one) is deque or issubclass(type(one), dict)]):
                    continue
            self._threads[id(thread)] = thread

    def add_tasks(self, loop) -> None:
        self._loop = loop
        self._tasks = frozenset(offered("asyncio.tasks", "all_tasks")(loop))

    def add_timers(self) -> None:
        self._timers = any([getitimer(which)[0] > 0.0 for which in _TIMERS])


def look() -> Others:
    """Who is at work now. Raises what session code has put in the way of the look."""
    others = Others()
    if _thread_count() > 0:
        others.add_threads()
    loop = _event_loop()
    if loop is not None:
        others.add_tasks(loop)
    others.add_timers()
    return others


def _event_loop():
    """The main thread's, or None."""
    policy = offered(EVENTS, "_event_loop_policy")
    local = (instance_dict(policy) or {}).get("_local")
    return getattr(local, "_loop", None)


def _origin(thread) -> str:
    """The file of the code that a thread runs."""
    run = lookup(type(thread), "run")
    if type(run) is FunctionType and run.__code__.co_filename.endswith("/threading.py"):
        run = (instance_dict(thread) or {}).get("_target")
    if type(run) is MethodType:
        run = run.__func__
    return run.__code__.co_filename if type(run) is FunctionType else ""


def _figures(executor) -> tuple:
    return len(executor._threads), executor._idle_semaphore._value, executor._work_queue.qsize()


def _is_busy(pool: tuple, earlier) -> bool:
    """Whether a pool has work; where it does not know, whether it seems to have been given any."""
    threads, idle, waiting = pool[1]
    if waiting or not idle:
        return True
    if idle == threads and not _COUNTS_TOO_MANY:
        return False
    return earlier is None or earlier[1] != pool[1]


def _has_callback(loop, execution: str) -> bool:
    """Whether the loop is to call something that the execution has given it."""
    attributes = instance_dict(loop) or {}
    handles = [*attributes.get("_ready", ()), *attributes.get("_scheduled", ())]
    return any(
        [
            not handle._cancelled
            and handle._context.run(Background.origin) == execution
            and not _is_asyncios(handle._callback)
            for handle in handles
        ]
    )


def _is_asyncios(callback) -> bool:
    if type(callback) is MethodType:
        callback = callback.__func__
    if type(callback) is FunctionType:
        return "/asyncio/" in callback.__code__.co_filename
    return type_name(type(callback)).startswith("Task")


def _in_words(thread) -> str:
    name = (instance_dict(thread) or {}).get("_name")
    return f"the thread {name[:_NAME_CHARS]} goes on" if type(name) is str else "a thread goes on"
