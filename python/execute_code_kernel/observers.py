"""Keeps what session code observes programs with to session code: trace and profile functions, and the callbacks of
`sys.monitoring`, hear nothing of the kernel's own frames, and cannot raise there."""

from __future__ import annotations

from .private import builtins as __builtins__

import sys
from os.path import abspath, dirname, join
from sys import getprofile, gettrace, setprofile, settrace

_KERNEL = join(dirname(abspath(__file__)), "")
_LOCAL_EVENTS = ("PY_START", "PY_RESUME", "PY_RETURN", "PY_YIELD", "CALL", "LINE", "INSTRUCTION", "JUMP", "BRANCH")
"""Those that a callback can disable for a place in the code."""


class _Filter:
    """A trace or profile function without the events of the kernel's frames."""

    def __init__(self, function) -> None:
        self.function = function

    def __call__(self, frame, event, argument):
        if frame.f_code.co_filename.startswith(_KERNEL):
            return None
        return self.function(frame, event, argument)


def install() -> None:
    sys.settrace, sys.gettrace = _pair(settrace, gettrace)
    sys.setprofile, sys.getprofile = _pair(setprofile, getprofile)
    if hasattr(sys, "monitoring"):
        _change_monitoring(sys.monitoring)


def _pair(set_raw, get_raw) -> tuple:
    """What stands for a function that sets an observer, and for the one that tells it."""

    def set_observer(function, /):
        set_raw(None if function is None else _Filter(function))

    def get_observer():
        current = get_raw()
        return current.function if type(current) is _Filter else current

    for stand_in, raw in ((set_observer, set_raw), (get_observer, get_raw)):
        stand_in.__name__ = stand_in.__qualname__ = raw.__name__
        stand_in.__doc__ = raw.__doc__
    return set_observer, get_observer


def _change_monitoring(monitoring) -> None:
    register = monitoring.register_callback
    local = {getattr(monitoring.events, name) for name in _LOCAL_EVENTS if hasattr(monitoring.events, name)}
    disable = monitoring.DISABLE

    def register_callback(tool_id, event, func, /):
        filtered = func

        if func is not None:

            def filtered(code, *arguments):
                if code.co_filename.startswith(_KERNEL):
                    return disable if event in local else None
                return func(code, *arguments)

            filtered.callback = func
        before = register(tool_id, event, filtered)
        return getattr(before, "callback", before)

    register_callback.__doc__ = register.__doc__
    monitoring.register_callback = register_callback
