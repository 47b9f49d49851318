"""When a signal may raise, and what becomes of an interrupt.

Session code runs inside `Interrupts.run` and nowhere else. There SIGINT raises KeyboardInterrupt, or cancels the
cell's awaiting task when only the event loop is on the stack. Outside it SIGINT raises nothing: it is kept for the
execution whose request has already arrived, and ignored when there is none. All other signals that session code may
have handlers for are blocked outside, so that no handler of a cell raises in the kernel.
"""

from __future__ import annotations

from .private import builtins as __builtins__

# The C module: what `signal` wraps around it makes 64 enumeration members at each change of the mask.
from _signal import SIG_BLOCK, SIG_DFL, SIG_IGN, SIG_SETMASK, SIGHUP, SIGINT, SIGQUIT, SIGTERM
from _signal import getsignal, pthread_sigmask, valid_signals
from _signal import signal as _set_handler
from sys import getprofile, getrecursionlimit, gettrace, setprofile, setrecursionlimit, settrace

import _signal

_FATAL_NAMES = "KILL STOP SEGV BUS FPE ILL ABRT TRAP SYS CONT"
_FATAL = {getattr(_signal, f"SIG{name}") for name in _FATAL_NAMES.split() if hasattr(_signal, f"SIG{name}")}
_ENDING = (SIGTERM, SIGHUP, SIGQUIT)
"""End an idle kernel as they would any process, unless session code handles them."""

_UNHANDLED = (SIG_DFL, SIG_IGN, None)
_LEAST_RECURSION = 200
_EVENT_LOOP_MODULES = ("asyncio", "selectors")


class Interrupts:
    """The one object that decides about signals in a kernel."""

    def __init__(self, pending, keep) -> None:
        """`pending()` tells whether a request has arrived; `keep` are signals that are never blocked."""
        self._pending = pending
        self._blocked = set(valid_signals()) - _FATAL - {SIGINT, *_ENDING} - set(keep)
        self._user_mask = None
        self._user_handler = None
        self._handler = self._on_interrupt
        self._trace = None
        self._profile = None
        self._preparing = False
        self._running = False
        self._waiting = False
        self.received = False
        """The current execution was interrupted."""
        self.cancel = None
        """Cancels the cell's awaiting task while there is one; returns whether it did."""
        # These frames belong to no session code: an interrupt that finds one of them on top raises a moment later.
        self._own_code = {Interrupts.run.__code__}

    def install(self) -> None:
        _set_handler(SIGINT, self._handler)
        self._block()
        self._leave()

    def prepare(self) -> None:
        """A request has been found; from now on an interrupt is meant for it."""
        self._preparing = True

    def settle(self) -> None:
        """The request is done; an interrupt that came too late for it is forgotten."""
        self._preparing = False
        self._waiting = False

    def _on_interrupt(self, _number, frame) -> None:
        if not self._running:
            self._waiting = self._waiting or self._preparing or self._pending()
            return
        self.received = True
        if frame is None or frame.f_code in self._own_code:
            self._waiting = True
            return
        if self.cancel is not None and _in_event_loop(frame) and self.cancel():
            return
        raise KeyboardInterrupt

    def run(self, function):
        """Calls session code; gives its value and what it raised, one of them None."""
        self.received = False
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
        if self._waiting:
            self._waiting = False
            self.received = True
            raise KeyboardInterrupt
        return function()

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
        else:
            self._user_handler = None
        for number in _ENDING:
            if getsignal(number) not in _UNHANDLED:
                pthread_sigmask(SIG_BLOCK, (number,))


def _in_event_loop(frame) -> bool:
    return str(frame.f_globals.get("__name__")).partition(".")[0] in _EVENT_LOOP_MODULES
