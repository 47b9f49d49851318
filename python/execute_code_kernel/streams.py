"""What session code sees as sys.stdout and sys.stderr, and the FIFOs behind them.

Both streams are ordinary text wrappers over descriptors 1 and 2: real `.buffer`, `fileno()`, UTF-8, and lone
surrogates written as backslash escapes. Output becomes visible without threads:

    prompt   each line is written at once (the state at the start and at the end of every execution)
    flooded  more than 512 lines in 50 ms: text is collected in blocks; a timer signal every 100 ms writes what is
             pending, and returns to prompt when the flood is over

The timer signal is SIGRTMAX-2, armed only during floods. Where POSIX timers cannot be had, the streams stay prompt.
Two limits: while a flood's last lines are pending, one long call into C delays them until it returns; and an
unfinished line without a flush waits for its end, as on a terminal.

A redirection lasts as long as its cell: when an execution ends, sys.stdout and sys.stderr are the session's streams
and descriptors 1 and 2 its FIFOs again. Closing either stream only flushes it.
"""

from __future__ import annotations

from .private import builtins as __builtins__

import io
import signal
import sys
from functools import partial
from os import getpid, register_at_fork
from os import write as _write
from select import POLLOUT, poll
from signal import siginterrupt
from sys import addaudithook
from time import monotonic as _monotonic

# The C module's own: what kernels put in their place is for session code.
from _signal import getsignal
from _signal import signal as _set_handler
from _thread import _count as _thread_count

from .background import Background

try:
    import ctypes
    from ctypes import byref, c_int, c_long, c_size_t, c_void_p, sizeof

    _libc = ctypes.CDLL(None)
except (ImportError, OSError):  # this build has none
    _libc = None

_BUFFER_BYTES = 64 * 1024
_FLOOD_FLUSHES = 512
_FLOOD_SECONDS = 0.050
_TICK_SECONDS = 0.1
_CALM_BYTES = 4096
TICK_SIGNAL = getattr(signal, "SIGRTMAX", 0) - 2 if hasattr(signal, "SIGRTMAX") else None

# Older text wrappers lose and garble pending text that two threads write at once (python/cpython#119506). While there
# are threads, their text stays out of blocks.
_BLOCKS_BREAK_WITH_THREADS = sys.version_info < (3, 12, 4)

# Before these, pending text is written: another process is about to write to the same descriptors.
_PROCESS_EVENTS = frozenset(("subprocess.Popen", "os.system", "os.posix_spawn", "os.exec", "os.spawn", "pty.spawn"))


_deferred: list = []
"""Filled when an interrupt has come in the middle of a write, after which what was written would be written again."""


def _raise_deferred() -> None:
    del _deferred[:]
    raise KeyboardInterrupt


class _Raw(io.FileIO):
    """Descriptor 1 or 2; for what an earlier execution left behind, that execution's own. A descriptor that a child
    made non-blocking still takes everything."""

    def __init__(self, descriptor: int, background: Background) -> None:
        super().__init__(descriptor, "w", closefd=False)
        self.name = "<stdout>" if descriptor == 1 else "<stderr>"
        self.written = 0
        self._stream = descriptor - 1
        self._background = background

    def write(self, data):
        if _deferred:
            _raise_deferred()
        if self._background.routes:
            descriptor = self._background.descriptor(self._stream)
            if descriptor is not None:
                return _write(descriptor, data)
        while True:
            count = _file_write(self, data)
            if count is not None:
                self.written += count
                return count
            waiting = poll()
            waiting.register(self.fileno(), POLLOUT)
            waiting.poll()


_file_write = io.FileIO.write
_buffer_flush = io.BufferedWriter.flush


class _Buffer(io.BufferedWriter):
    """Counts flushes, each of which is a line while the stream is prompt."""

    def __init__(self, raw: _Raw, flooded) -> None:
        super().__init__(raw, _BUFFER_BYTES)
        self._flooded = flooded
        self._flushes = 0
        self._since = 0.0

    def flush(self):
        _buffer_flush(self)
        if _deferred:
            _raise_deferred()
        self._flushes += 1
        if self._flushes >= _FLOOD_FLUSHES:
            now = _monotonic()
            flood = now - self._since < _FLOOD_SECONDS
            self._flushes, self._since = 0, now
            if flood:
                self._flooded()

    def close(self):
        """Only flushes: the session's streams outlive any cell."""
        self.flush()


class _Stream:
    """One of the two streams, and its state."""

    def __init__(self, descriptor: int, name: str, background: Background, flooded) -> None:
        self.name = name
        self.descriptor = descriptor
        self._background = background
        self.is_flooded = False
        self._on_flood = flooded
        self._written = 0
        self.text = None
        self.open()

    def open(self) -> None:
        self.is_flooded = False
        self.raw = _Raw(self.descriptor, self._background)
        self.buffer = _Buffer(self.raw, lambda: self._on_flood(self))
        self.text = io.TextIOWrapper(
            self.buffer, encoding="utf-8", errors="backslashreplace", newline="\n", line_buffering=True
        )
        self.text.mode = "w"
        self._reconfigure = self.text.reconfigure
        self.flush = self.text.flush

    def become_flooded(self) -> None:
        if not self.is_flooded:
            self.is_flooded = True
            self._written = self.raw.written
            self._reconfigure(line_buffering=False)

    def become_prompt(self) -> None:
        """Writes what is pending, and every line at once from now on."""
        if self.is_flooded:
            self.is_flooded = False
            self._reconfigure(line_buffering=True)

    def tick(self) -> None:
        self.flush()
        written, self._written = self.raw.written - self._written, self.raw.written
        if written < _CALM_BYTES or _threads_forbid_blocks():
            self.become_prompt()


class Streams:
    """The session's stdout and stderr. One for each process; `after_fork` makes a child's its own."""

    def __init__(self, background: Background) -> None:
        self._background = background
        self._streams = (
            _Stream(1, "stdout", background, self._on_flood),
            _Stream(2, "stderr", background, self._on_flood),
        )
        self._timer = _Timer()
        self._watching = False
        self._flush_c = _c_flush()
        register_at_fork(before=self._before_fork, after_in_child=self._after_fork)
        self._tick = self._on_tick
        self._listens()
        self._install()

    def restore(self) -> None:
        """Ends an execution's output: writes everything pending and takes back what the cell had redirected."""
        del _deferred[:]
        for stream in self._streams:
            try:
                stream.flush()
                if stream.is_flooded:
                    stream.become_prompt()
            except (OSError, ValueError, RuntimeError, AttributeError):
                # Detached, or a descriptor that takes nothing any more: a new wrapper, once it has been restored.
                stream.open()
        if self._timer.running:
            self._timer.stop()
        self._flush_c()
        self._install()

    def take_back(self) -> None:
        """Flushes what session code has put in the streams' place, and takes that back. Runs session code: the flush,
        and the end of what was there; ignores its failure."""
        for stream in self._streams:
            current = getattr(sys, stream.name, None)
            if current is not stream.text and current is not None:
                try:
                    current.flush()
                except KeyboardInterrupt:
                    raise
                except BaseException:
                    pass
                del current
        self._install()

    @staticmethod
    def defers(frame) -> bool:
        """Takes over an interrupt that came in the middle of a write: it is raised when the write is done. A write
        that cannot go on, because nobody reads, is interrupted."""
        if frame.f_code is not _Raw.write.__code__:
            return False
        waiting = poll()
        waiting.register(1, POLLOUT)
        waiting.register(2, POLLOUT)
        if len(waiting.poll(0)) < 2:
            return False
        _deferred.append(True)
        return True

    @staticmethod
    def gives_back() -> bool:
        """Whether an interrupt was taken over and no write has raised it yet; it is the caller's from now on."""
        held = bool(_deferred)
        del _deferred[:]
        return held

    def complain(self, text: str) -> None:
        """Writes to the session's stderr, whatever sys.stderr is."""
        _write(2, text.encode("utf-8", "backslashreplace"))

    def flush(self) -> None:
        """Writes everything pending, as far as possible."""
        for stream in self._streams:
            try:
                stream.flush()
            except (OSError, ValueError, RuntimeError, AttributeError):
                pass

    def _install(self) -> None:
        out, err = self._streams
        sys.stdout = sys.__stdout__ = out.text
        sys.stderr = sys.__stderr__ = err.text

    def _on_flood(self, stream: _Stream) -> None:
        if stream.is_flooded or _threads_forbid_blocks() or self._background.routes:
            return
        if not self._listens() or not self._timer.start():
            return
        if not self._watching:
            self._watching = True
            addaudithook(self._on_event)
        stream.become_flooded()

    def _listens(self) -> bool:
        """Sees to it that a tick is heard, also when session code has reset all handlers."""
        if TICK_SIGNAL is not None and getsignal(TICK_SIGNAL) is not self._tick:
            try:
                _set_handler(TICK_SIGNAL, self._tick)
            except ValueError:
                return False  # Not in the main thread.
        return True

    def _on_tick(self, _number, _frame) -> None:
        try:
            for stream in self._streams:
                if stream.is_flooded:
                    stream.tick()
        except (OSError, ValueError, RuntimeError, AttributeError):
            return  # The stream is in the middle of a write: the next tick comes soon.
        if self._timer.running and not any([stream.is_flooded for stream in self._streams]):
            self._timer.stop()

    def _on_event(self, event, _arguments) -> None:
        if event in _PROCESS_EVENTS:
            for stream in self._streams:
                if stream.is_flooded:
                    self.flush()

    def _before_fork(self) -> None:
        """A child must not write what its parent had pending."""
        self.flush()

    def _after_fork(self) -> None:
        # The timer stayed with the parent.
        self._timer = _Timer()
        self._background.after_fork()
        for stream in self._streams:
            try:
                stream.become_prompt()
            except (OSError, ValueError, RuntimeError, AttributeError):
                pass


def _threads_forbid_blocks() -> bool:
    return _BLOCKS_BREAK_WITH_THREADS and _thread_count() > 0


def _c_flush():
    """A function that flushes C's own stdout, which is made unbuffered, so that it keeps its order with Python's; one
    that does nothing where there is no way. C's stderr holds nothing back."""
    try:
        stdout = c_void_p.in_dll(_libc, "stdout")
        _libc.setvbuf(stdout, None, 2, c_size_t(0))
        return partial(_libc.fflush, stdout)
    except (NameError, ValueError, AttributeError):
        return int


class _Timer:
    """A POSIX timer that sends TICK_SIGNAL to this thread every _TICK_SECONDS while it is started."""

    def __init__(self) -> None:
        self._id = None
        self._broken = _libc is None or TICK_SIGNAL is None
        self.running = False

    def start(self) -> bool:
        """Whether ticks come now."""
        if self._broken:
            return False
        if not self.running:
            self.running = self._create() and self._set(_TICK_SECONDS)
            self._broken = not self.running
        return self.running

    def stop(self) -> None:
        self.running = False
        self._set(0.0)

    def _create(self) -> bool:
        if self._id is not None:
            return True
        try:
            create, self._settime = _libc.timer_create, _libc.timer_settime
        except AttributeError:
            return False
        # struct sigevent on Linux: a pointer-sized value, the signal, how to notify, and the thread to notify.
        event = (c_int * 16)()
        at = sizeof(c_void_p) // sizeof(c_int)
        event[at], event[at + 1], event[at + 2] = TICK_SIGNAL, 4, getpid()  # 4: SIGEV_THREAD_ID, the main thread
        timer = c_void_p()
        if create(1, event, byref(timer)) != 0:  # 1: CLOCK_MONOTONIC
            return False
        # System calls that can go on after a tick do.
        siginterrupt(TICK_SIGNAL, False)
        self._id = timer
        return True

    def _set(self, seconds: float) -> bool:
        nanoseconds = int(seconds * 1e9)
        value = (c_long * 4)(0, nanoseconds, 0, nanoseconds)
        return self._settime(self._id, 0, value, None) == 0
