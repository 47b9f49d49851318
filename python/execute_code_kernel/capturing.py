"""A branch that writes the session's variables down and ends: it offers contents by their digests, and writes those
that the daemon has not got into a FIFO."""

from __future__ import annotations

from .private import builtins as __builtins__

import os
from struct import pack

from .tracebacks import describe_barely

_PRIORITY = 19
_GROUP_PRIORITY = 5
"""On a busy machine a capture has still a quarter of what the session has: it must end in time."""
_TURN_NANOSECONDS = 100_000_000
_SET_ATTRIBUTES = {"x86_64": 314, "aarch64": 274}
"""The number of sched_setattr by machine."""
_NAMES = 50


class _Sink:
    """Where captured contents go."""

    def __init__(self, channel, contents: int) -> None:
        self._channel = channel
        self._contents = contents

    def working_on(self, names) -> None:
        self._channel.send({"type": "capturing", "names": list(names)[:_NAMES]})

    def put(self, digest: str, data) -> None:
        view = memoryview(data).cast("B")
        self._channel.send({"type": "offer", "contents": [{"digest": digest, "bytes": len(view)}]})
        self._channel.wait()
        if digest in self._channel.take()["digests"]:
            while view:
                view = view[os.write(self._contents, view) :]


def run(kernel, order: dict) -> None:
    """In the branch: captures, and says what. Does not return."""
    try:
        manifest = error = None
        try:
            manifest, raised = _capture(kernel, order)
        except BaseException as failure:
            raised = failure
        if raised is not None:
            manifest, error = None, describe_barely(type(raised), str(raised) if type(raised) is OSError else "")
            error = f"{error['type']}: {error['message']}"
        kernel._channel.send({"type": "captured", "manifest": manifest, "error": error})
    finally:
        os._exit(0)


def _stand_back() -> None:
    """Lets the session go first. Where Linux shares its time among process sessions and not among processes, a nice
    value counts among those of one session only: the session has one of its own."""
    os.nice(_PRIORITY)
    _take_long_turns()
    try:
        with open("/proc/self/autogroup", "w", encoding="ascii") as file:
            file.write(f"{_GROUP_PRIORITY}")
    except OSError:
        pass  # It is shared among processes, or cannot be said.


def _take_long_turns() -> None:
    """Since 6.12 Linux interrupts whoever takes long turns for all who take shorter ones, as soon as they have work;
    before that they may have to wait for a turn's end, some milliseconds. Source: sched(7), sched_setattr(2)."""
    call = _SET_ATTRIBUTES.get(os.uname().machine)
    if call is None or os.uname().sysname != "Linux":
        return
    try:
        from ctypes import CDLL, byref, c_char, c_long

        attributes = pack("=IIQiIQQQ", 48, os.SCHED_OTHER, 0, _PRIORITY, 0, _TURN_NANOSECONDS, 0, 0)
        CDLL(None).syscall(c_long(call), c_long(0), byref((c_char * 48)(*attributes)), c_long(0))
    except (ImportError, OSError):
        pass  # This build has no ctypes.


def _capture(kernel, order: dict) -> tuple:
    """The manifest, and what was raised, one of them None."""
    import gc

    from . import capture

    gc.disable()
    _stand_back()
    sink = _Sink(kernel._channel, os.open(order["stdout"], os.O_WRONLY | os.O_CLOEXEC))
    skip = dict(order["skip"])
    # Variables that are named are for another session.
    chosen = order["only"] is not None
    if chosen:
        skip.update(dict.fromkeys(kernel._namespace.keys() - set(order["only"]), "it was not asked for"))
    # Inside, where session code may run: it hears of signals there.
    return kernel._interrupts.run(lambda: capture.take(kernel.state, sink, skip=skip, compares=chosen), quiet=True)
