"""When a signal may raise, and what becomes of an interrupt.

Session code runs inside `Interrupts.run` and `Interrupts.turn` and nowhere else. The daemon names on a FIFO which
request an interrupt is meant for (`exec_…/1`, the second one `exec_…/2`), and then sends SIGINT: one that comes too
late for its request hits no other, one that comes too early waits for it, and one that is sent again, because C code
may have ignored the signal, counts once. A SIGINT that names nobody (session code's own `os.kill`, a terminal) is
meant for what runs, and nothing when the kernel is idle.

During a request's session code SIGINT raises KeyboardInterrupt, or cancels the cell's awaiting task when only the
event loop is on the stack. All other signals that session code may have handlers for are blocked outside of session
code, so that no handler of a cell raises in the kernel.
"""

from __future__ import annotations

from .private import builtins as __builtins__

# The C module: what `signal` wraps around it makes 64 enumeration members at each change of the mask.
from _signal import SIG_BLOCK, SIG_DFL, SIG_IGN, SIG_SETMASK, SIGHUP, SIGINT, SIGQUIT, SIGTERM
from _signal import getsignal, pthread_sigmask, valid_signals
from _signal import signal as _set_handler
from sys import getprofile, getrecursionlimit, gettrace, setprofile, setrecursionlimit, settrace

import _signal
from collections import deque
from os import read as _read

_FATAL_NAMES = "KILL STOP SEGV BUS FPE ILL ABRT TRAP SYS CONT"
_FATAL = {getattr(_signal, f"SIG{name}") for name in _FATAL_NAMES.split() if hasattr(_signal, f"SIG{name}")}
_ENDING = (SIGTERM, SIGHUP, SIGQUIT)
"""End an idle kernel as they would any process, unless session code handles them."""

_UNHANDLED = (SIG_DFL, SIG_IGN, None)
_SERVED = 256
"""How many finished requests are remembered, so that an interrupt which comes too late for one is known as such."""
_LEAST_RECURSION = 200
_EVENT_LOOP_MODULES = ("asyncio", "selectors")


class Interrupts:
    """The one object that decides about signals in a kernel."""

    def __init__(self, names: int, keep, streams) -> None:
        """`names` is the FIFO that names requests, non-blocking; `keep` are signals that are never blocked;
        `streams.defers(frame)` takes over an interrupt that must not raise in this frame, and raises it with the next
        write, or gives False; `streams.gives_back()` tells whether it still holds one, and holds it no more."""
        self._names = names
        self._streams = streams
        self._blocked = set(valid_signals()) - _FATAL - {SIGINT, *_ENDING} - set(keep)
        self._user_mask = None
        self._user_handler = None
        self._handler = self._on_interrupt
        self._trace = None
        self._profile = None
        self._request = None
        """The request that is being served."""
        self._wanted = None
        """The request that an interrupt waits for."""
        self._acted = 0
        """How many interrupts of the current request have been acted upon."""
        self._served = deque(maxlen=_SERVED)
        self._running = False
        self.received = False
        """The current request was interrupted."""
        self.cancel = None
        """Cancels the cell's awaiting task while there is one; returns whether it did."""
        # These frames belong to no session code: an interrupt that finds one of them on top raises a moment later.
        self._own_code = {Interrupts.run.__code__}

    def install(self) -> None:
        _set_handler(SIGINT, self._handler)
        self._block()
        self._leave()

    def prepare(self, request: str) -> None:
        """The request is served from now on."""
        self._request = request
        self._acted = 0
        self.received = False

    def settle(self) -> None:
        """The request is done; an interrupt that comes too late for it is forgotten."""
        self._served.append(self._request)
        if self._wanted == self._request:
            self._wanted = None
        self._request = None

    def _on_interrupt(self, _number, frame) -> None:
        named = self._read_names()
        request = self._request
        for name, _ in named:
            if name != request and name not in self._served:
                self._wanted = name
        if request is None:
            self._interrupt_background(frame)
        elif not named or self._is_new(named, request) or self._streams.gives_back():
            if not self._running:
                self._wanted = request
                return
            self.received = True
            if frame is None or frame.f_code in self._own_code:
                self._wanted = request
                return
            self._wanted = None
            if self._streams.defers(frame):
                return
            if self.cancel is not None and _in_event_loop(frame) and self.cancel():
                return
            raise KeyboardInterrupt

    def _is_new(self, named, request: str) -> bool:
        """Whether an interrupt is meant for the current request and has not been acted upon."""
        newest = max([number for name, number in named if name == request], default=0)
        if newest <= self._acted:
            return False
        self._acted = newest
        return True

    def _interrupt_background(self, frame) -> None:
        """Between requests: a task that keeps the event loop from serving the request which is wanted is ended."""
        if self._running and self._wanted is not None and frame is not None and frame.f_code not in self._own_code:
            if not _in_event_loop(frame):
                raise KeyboardInterrupt

    def _read_names(self) -> list[tuple]:
        """Requests to interrupt, each with the number of its interrupt."""
        try:
            lines = _read(self._names, 65536).decode("ascii", "replace").split()
            return [(name, int(number)) for name, _, number in [line.partition("/") for line in lines]]
        except (OSError, ValueError):
            return []

    def run(self, function):
        """Calls session code for the current request; gives its value and what it raised, one of them None."""
        value = raised = None
        blocked = False
        try:
            self._enter()
            self._running = True
            value = self._begin(function)
            self._block()
            blocked = True
        except BaseException as error:
            raised = error
        self._running = False
        if not blocked:
            self._block()
        self._leave()
        return value, raised

    def _begin(self, function):
        if self._wanted is not None and self._wanted == self._request:
            self._wanted = None
            self.received = True
            raise KeyboardInterrupt
        return function()

    def turn(self, function):
        """Calls session code that belongs to no request: background tasks. Gives what it raised, or None."""
        return self.run(function)[1]

    def _enter(self) -> None:
        """Gives session code back what it had set."""
        if self._user_handler is not None:
            _set_handler(SIGINT, self._user_handler)
        if self._trace is not None:
            settrace(self._trace)
        if self._profile is not None:
            setprofile(self._profile)
        if self._user_mask is not None:
            pthread_sigmask(SIG_SETMASK, self._user_mask)

    def _block(self) -> None:
        mask = pthread_sigmask(SIG_BLOCK, self._blocked)
        if not self._blocked <= mask:
            self._user_mask = mask

    def _leave(self) -> None:
        """Takes back what session code may have set."""
        self._trace, self._profile = gettrace(), getprofile()
        if self._trace is not None:
            settrace(None)
        if self._profile is not None:
            setprofile(None)
        if getrecursionlimit() < _LEAST_RECURSION:
            setrecursionlimit(_LEAST_RECURSION)
        handler = getsignal(SIGINT)
        if handler is not self._handler:
            self._user_handler = handler
            _set_handler(SIGINT, self._handler)
            self._read_names()  # They were for session code's handler.
        else:
            self._user_handler = None
        for number in _ENDING:
            if getsignal(number) not in _UNHANDLED:
                pthread_sigmask(SIG_BLOCK, (number,))


def _in_event_loop(frame) -> bool:
    return str(frame.f_globals.get("__name__")).partition(".")[0] in _EVENT_LOOP_MODULES
