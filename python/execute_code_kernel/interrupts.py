"""When a signal may raise, and what becomes of an interrupt.

Session code runs inside `Interrupts.run` and `Interrupts.turn` and nowhere else. The daemon names on a FIFO which
request an interrupt is meant for (`exec_…/1`, the second one `exec_…/2`), and then sends SIGINT: one that comes too
late for its request hits no other, one that comes too early waits for it, and one that is sent again, because C code
may have ignored the signal, counts once. A SIGINT that names nobody (session code's own `os.kill`, a terminal) is
meant for what runs, and nothing when the kernel is idle.

During a request's session code SIGINT raises KeyboardInterrupt, or cancels the cell's awaiting task when only the
event loop, or what an earlier execution left in it, is on the stack. All other signals that session code may have
handlers for are blocked outside of session code. A thread may take one all the same, and it may come in the moment
before the blocking: what session code sets as a handler is therefore called by a handler of the kernel, which holds
such a signal back until session code runs again. No handler of a cell raises in the kernel.
"""

from __future__ import annotations

from .private import builtins as __builtins__

# The C module: what `signal` wraps around it makes 64 enumeration members at each change of the mask.
from _signal import SIG_BLOCK, SIG_DFL, SIG_IGN, SIG_SETMASK, SIG_UNBLOCK, SIGHUP, SIGINT, SIGQUIT, SIGTERM
from _signal import getsignal, pthread_sigmask, valid_signals
from _signal import signal as _set_handler
from sys import _getframe, getprofile, getrecursionlimit, gettrace, setprofile, setrecursionlimit, settrace

import _signal
from _thread import get_ident
from collections import deque
from os import close
from os import read as _read
from os import register_at_fork

try:
    from ctypes import PyDLL, c_int, py_object

    _libc = PyDLL(None)
except (ImportError, OSError):  # this build has none
    _libc = None

_FATAL_NAMES = "KILL STOP SEGV BUS FPE ILL ABRT TRAP SYS CONT"
_FATAL = {getattr(_signal, f"SIG{name}") for name in _FATAL_NAMES.split() if hasattr(_signal, f"SIG{name}")}
_ENDING = (SIGTERM, SIGHUP, SIGQUIT)
"""End an idle kernel as they would any process, unless session code handles them."""

_UNHANDLED = (SIG_DFL, SIG_IGN, None)
_SERVED = 256
"""How many finished requests are remembered, so that an interrupt which comes too late for one is known as such."""
_LEAST_RECURSION = 200
_DEEPEST = 4
_EVENT_LOOP_MODULES = ("asyncio", "selectors", "uvloop")
_GLOBALS = globals()


class Interrupts:
    """The one object that decides about signals in a kernel."""

    def __init__(self, names: int, keep, streams, origin) -> None:
        """`names` is the FIFO that names requests, non-blocking; `keep` are signals that are never blocked;
        `streams.defers(frame)` takes over an interrupt that must not raise in this frame, and raises it with the next
        write, or gives False; `streams.gives_back()` tells whether it still holds one, and holds it no more;
        `origin()` gives the request that the running code belongs to, or None."""
        self._names = names
        self._streams = streams
        self._origin = origin
        self._blocked = set(valid_signals()) - _FATAL - {SIGINT, *_ENDING} - set(keep)
        self._user_mask = None
        self._user_handler = None
        self._handler = self._on_interrupt
        self._relay = _blocking(self._on_signal)
        self._handlers: dict = {}
        """By signal: what session code has set as its handler; the interpreter knows `_relay` in its place."""
        self._held: list = []
        """Signals that came when no session code could be called."""
        self._halted: set = set()
        """Signals that are blocked until the request is done, and not by session code."""
        self._trace = None
        self._profile = None
        self._thread = 0
        """The main thread: no other runs signal handlers."""
        self._request = None
        """The request that is being served."""
        self._wanted = None
        """The request that an interrupt waits for."""
        self._acted = 0
        """How many interrupts of the current request have been acted upon."""
        self._served = deque(maxlen=_SERVED)
        self._running = False
        self._quiet = False
        self._depth = 0
        """How many handlers of session code are running, each within the one before."""
        self.received = False
        """The current request was interrupted."""
        self.cancel = None
        """Cancels the cell's awaiting task while there is one; returns whether it did. Its `waits` tells whether it
        did before and the event loop has not come to it yet."""
        # A signal that finds the first on top raises a moment later; in the others, `run` is there to catch it.
        self._outside = Interrupts.run.__code__
        self._ends = {Interrupts.run.__code__, Interrupts._begin.__code__, Interrupts._call_handler.__code__}

    def install(self) -> None:
        self._thread = get_ident()
        _set_handler(SIGINT, self._handler)
        # Where the module `signal` looks them up.
        _signal.signal, _signal.getsignal = self._set_handler, self._handler_of
        register_at_fork(after_in_child=self._after_fork)
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

    @property
    def traced(self) -> bool:
        """Whether session code has a tracer or a profiler, which every step of a cell calls."""
        return self._trace is not None or self._profile is not None

    def _on_interrupt(self, _number, frame) -> None:
        named = self._read_names()
        request = self._request
        inside = self._is_inside(frame)
        for name, _ in named:
            if name != request and name not in self._served:
                self._wanted = name
        if request is None:
            if inside:
                self._interrupt_background(frame)
        elif not named or self._is_new(named, request) or (inside and self._streams.gives_back()):
            if not self._running:
                self._wanted = request
                return
            self.received = True
            if not inside:
                self._wanted = request
                return
            self._wanted = None
            self._act(frame)

    def _act(self, frame) -> None:
        if self._streams.defers(frame):
            return
        if self._belongs_to_the_loop(frame) and self.cancel():
            return
        raise KeyboardInterrupt

    def on_dropped(self, raised, frame) -> None:
        """An exception came where Python can raise none, in a finalizer or a callback of a weak reference (which the
        machinery of imports has), and was dropped; `frame` goes on. An interrupt that this befell acts at its next
        step: when it is sent again, the child that `frame` waits for may have ended of its own."""
        if raised is KeyboardInterrupt and self._acted > 0 and get_ident() == self._thread:
            self._acted -= 1
            # A tracer of session code would be lost: the interpreter forgets a tracer that has raised.
            if gettrace() in (None, _trace_nothing) and self._is_inside(frame):
                self._act_at_next_step(frame, self._request, self._acted + 1)

    def _act_at_next_step(self, frame, request: str, number: int) -> None:
        before = frame.f_trace, frame.f_trace_opcodes

        def step(here, _event, _value) -> None:
            here.f_trace, here.f_trace_opcodes = before
            settrace(None)
            if self._running and self._request == request and self._acted < number:
                self._acted = number
                self._act(here)

        frame.f_trace_opcodes = True  # Before the tracer is set: from 3.12 on it looks at this then.
        frame.f_trace = step
        settrace(_trace_nothing)

    def _belongs_to_the_loop(self, frame) -> bool:
        """Whether the cell awaits, and what runs meanwhile is not its own. A task of an earlier execution that keeps
        the event loop from cancelling is none the second time."""
        if self.cancel is None:
            return False
        return _in_event_loop(frame) or (self._origin() not in (None, self._request) and not self.cancel.waits)

    def _is_new(self, named, request: str) -> bool:
        """Whether an interrupt is meant for the current request and has not been acted upon."""
        newest = max([number for name, number in named if name == request], default=0)
        if newest <= self._acted:
            return False
        self._acted = newest
        return True

    def _interrupt_background(self, frame) -> None:
        """Between requests: a task that keeps the event loop from serving the request which is wanted is ended."""
        if self._wanted is not None and not _in_event_loop(frame):
            raise KeyboardInterrupt

    def _read_names(self) -> list[tuple]:
        """Requests to interrupt, each with the number of its interrupt."""
        try:
            lines = _read(self._names, 65536).decode("ascii", "replace").split()
            return [(name, int(number)) for name, _, number in [line.partition("/") for line in lines]]
        except (OSError, ValueError):
            return []

    # ── handlers of session code ────────────────────────────────────────────────────────────────────────────

    def _set_handler(self, signalnum, handler, /):
        """Stands for `signal.signal`."""
        relayed = callable(handler) and handler is not self._handler
        known = self._handlers.get(signalnum)
        if relayed:
            self._handlers[signalnum] = handler
        try:
            before = _set_handler(signalnum, self._relay if relayed else handler)
        except BaseException:
            if known is not None:
                self._handlers[signalnum] = known
            raise
        if not relayed:
            self._handlers.pop(signalnum, None)
        return known if before is self._relay else before

    def _handler_of(self, signalnum, /):
        """Stands for `signal.getsignal`."""
        handler = getsignal(signalnum)
        return self._handlers.get(signalnum) if handler is self._relay else handler

    def _on_signal(self, number, frame) -> None:
        """The signal is blocked by now, if `_blocking` found a way."""
        if self._depth < _DEEPEST and (number == SIGINT or not self._quiet) and self._is_inside(frame):
            self._call_handler(number, frame)
            return
        self._halted.add(number)
        if number not in self._held:
            self._held.append(number)

    def _is_inside(self, frame) -> bool:
        """Whether what is raised in this frame is raised in session code: `run` catches it."""
        # A signal may have come upon one of these handlers; what counts is where that one was called.
        while frame is not None and frame.f_globals is _GLOBALS and frame.f_code not in self._ends:
            frame = frame.f_back
        return self._running and frame is not None and frame.f_code is not self._outside

    def _call_handler(self, number, frame) -> None:
        """A signal may come upon its own handler. One that comes faster than its handler runs would leave that no way
        to its end: beyond a few it waits, and when the handler has raised, until the request is done."""
        depth = self._depth
        self._depth = depth + 1
        try:
            if self._depth < _DEEPEST:
                self._unblock(number)
            else:
                self._halted.add(number)
            handler = self._handlers.get(number)
            if handler is not None:
                handler(number, frame)
        finally:
            self._depth = depth
        if depth + 1 == _DEEPEST:
            self._unblock(number)

    def _unblock(self, number) -> None:
        self._halted.discard(number)
        pthread_sigmask(SIG_UNBLOCK, (number,))

    @property
    def descriptors(self) -> list[int]:
        """Of the FIFO that names the requests to interrupt."""
        return [] if self._names == -1 else [self._names]

    def begin_branch(self, names: int) -> None:
        """In a branch, which is a kernel and not a process of session code. `names`: its own FIFO; -1: none."""
        if self._names != -1:
            close(self._names)
        self._names = names
        self._running = False
        self._request = self._wanted = None
        self._served.clear()

    def _after_fork(self) -> None:
        """A thread may have forked while the kernel was idle: everything in the child is session code."""
        self._running = True
        self._quiet = False
        self._depth = 0
        self._held.clear()

    # ── running session code ────────────────────────────────────────────────────────────────────────────────

    def run(self, function, quiet: bool = False):
        """Calls session code for the current request; gives its value and what it raised, one of them None. A `quiet`
        call can be interrupted, and hears of no other signal."""
        value = raised = None
        blocked = False
        self._quiet = quiet
        self._depth = 0
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
        while self._held and not self._quiet:
            self._call_handler(self._held.pop(0), _getframe())
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
        if self._user_mask is not None and not self._quiet:
            pthread_sigmask(SIG_SETMASK, self._user_mask)

    def _block(self) -> None:
        mask = pthread_sigmask(SIG_BLOCK, self._blocked)
        if not self._blocked <= mask:
            self._user_mask = mask - self._halted
        self._halted.clear()

    def _leave(self) -> None:
        """Takes back what session code may have set."""
        self._trace, self._profile = gettrace(), getprofile()
        if not callable(self._profile):
            self._profile = None  # A profiler in C, which nobody else can set again, goes on.
        if self._trace is not None:
            settrace(None)
            if self._trace is _trace_nothing:
                self._trace = None
        if self._profile is not None:
            setprofile(None)
        if getrecursionlimit() < _LEAST_RECURSION:
            setrecursionlimit(_LEAST_RECURSION)
        handler = getsignal(SIGINT)
        if handler is not self._handler:
            self._user_handler = handler
            _set_handler(SIGINT, self._handler)
            self._read_names()  # They were for session code's handler.
            if SIGINT in self._held:
                self._held.remove(SIGINT)
            self._unblock(SIGINT)
        else:
            self._user_handler = None
        for number in _ENDING:
            if getsignal(number) not in _UNHANDLED:
                pthread_sigmask(SIG_BLOCK, (number,))


def _blocking(function):
    """A signal handler that blocks its signal before it calls `function(number, frame)`. At the first step of a
    handler in Python the next signal may be there, and so on."""
    try:
        handler = _libc["sighold"]
    except (TypeError, AttributeError):
        return function
    handler.argtypes = (c_int, py_object)  # Of which C takes the first.
    handler.errcheck = lambda _result, _handler, arguments: function(*arguments)
    return handler


def _trace_nothing(_frame, _event, _value) -> None:
    """A tracer for the sake of one frame that has its own already."""


def _in_event_loop(frame) -> bool:
    return str(frame.f_globals.get("__name__")).partition(".")[0] in _EVENT_LOOP_MODULES
