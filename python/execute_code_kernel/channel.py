"""The kernel's connection to the daemon.

One reader at a time: the kernel's loop while it is idle, or code that waits for the answer to a `call`. Frames that
the reader did not wait for are kept for the loop. Frames of a process that forked from the kernel are dropped: the
connection is the kernel's alone.
"""

from __future__ import annotations

from .private import builtins as __builtins__

from collections import deque
from fcntl import F_DUPFD_CLOEXEC, fcntl
from os import close, getpid
from os import read as _read
from os import write as _write
from select import POLLIN, POLLOUT, poll
from _signal import SIG_BLOCK, SIG_SETMASK, pthread_sigmask, valid_signals
from _socket import AF_UNIX, SOCK_STREAM, socket
from _thread import allocate_lock

from .dialling import ask
from .frames import FrameReader, encode

_CHUNK = 65536
_WAIT_SECONDS = 0.05
_ALL_SIGNALS = valid_signals()


class ChannelClosed(Exception):
    """The daemon has closed the connection."""


class ChannelLost(ChannelClosed):
    """Session code has closed it."""


class Channel:
    """A connection to the daemon's listener at `path`. Raises OSError when there is none. `asked_at`: where branches
    ask for theirs; -1: they dial it themselves."""

    def __init__(self, path: str, keep_above: int, asked_at: int = -1) -> None:
        self._keep_above = keep_above
        self._asked_at = asked_at
        self._descriptor = _dial(path, keep_above)
        self._begin()

    def _begin(self) -> None:
        self._pid = getpid()
        self._reader = FrameReader()
        self._chunks: deque[bytes] = deque()
        self._frames: deque[dict] = deque()
        self._answers: dict[str, tuple] = {}
        self._requests = 0
        self.sent = 0
        """Bytes of frames, all but answers, since there is the connection."""
        self._reading = allocate_lock()
        self._writing = allocate_lock()
        self._arrived = allocate_lock()
        """Free when a frame may have come for the kernel's loop."""
        self.on_frame = None
        """Called by whoever reads a frame for the kernel's loop."""

    def dial(self, path: str) -> int:
        """A connection for a branch. Raises OSError."""
        if self._asked_at == -1:
            return _dial(path, self._keep_above)
        return ask(self._asked_at, self._keep_above)

    def move_to(self, descriptor: int) -> None:
        """In a branch: its own connection in place of its parent's."""
        close(self._descriptor)
        self._descriptor = descriptor
        self._begin()

    @property
    def descriptor(self) -> int:
        """Readable when something has arrived."""
        return self._descriptor

    @property
    def foreign(self) -> bool:
        """This process forked from the one that the connection belongs to."""
        return getpid() != self._pid

    def send(self, frame: dict) -> None:
        """Writes a frame whole. Raises FrameError beyond the bound; a vanished daemon is noticed by reading."""
        if self.foreign:
            return
        data = encode(frame)
        # No signal handler of session code may raise between two pieces of a frame.
        mask = pthread_sigmask(SIG_BLOCK, ())
        try:
            # It blocks them, and then still raises for one that came before.
            pthread_sigmask(SIG_BLOCK, _ALL_SIGNALS)
            with self._writing:
                self._write(data)
        finally:
            pthread_sigmask(SIG_SETMASK, mask)

    def answer(self, frame: dict) -> None:
        """As `send`, for the kernel's loop: there hardly any handler of session code can run, and as a rule the
        frame goes out in one step, which none of them can divide."""
        data = encode(frame)
        written: list[int] = []
        with self._writing:
            try:
                written.extend(map(_write, (self._descriptor,), (data,)))
            except OSError:
                pass
            finally:
                if written != [len(data)]:
                    mask = pthread_sigmask(SIG_BLOCK, _ALL_SIGNALS)
                    self._write(data[sum(written) :])
                    pthread_sigmask(SIG_SETMASK, mask)

    def _write(self, data: bytes) -> None:
        rest = memoryview(data)
        while rest:
            try:
                count = _write(self._descriptor, rest)
                self.sent += count
                rest = rest[count:]
            except BlockingIOError:
                _wait(self._descriptor, POLLOUT)
            except OSError:
                return

    def wait(self) -> None:
        """Waits until there is a frame for the kernel's loop to take. Raises ChannelClosed at the end."""
        while not self._frames:
            self._read_or_wait(self._arrived)

    def read_ready(self) -> None:
        """Reads what has arrived, without waiting. Raises ChannelClosed at the end."""
        if self._reading.acquire(False):
            try:
                waiting = poll()
                waiting.register(self._descriptor, POLLIN)
                if not self._frames and waiting.poll(0):
                    self._read()
            finally:
                self._reading.release()

    def take(self) -> dict:
        return self._frames.popleft()

    @property
    def pending(self) -> bool:
        """Whether something has been read that nobody has taken."""
        return bool(self._frames or self._chunks)

    def call(self, frame: dict) -> object:
        """Sends a `call` or `input` and waits for its reply. Raises RuntimeError with what the daemon objected to."""
        if self.foreign:
            raise RuntimeError("a process that forked from the session cannot ask the platform")
        arrived = allocate_lock()
        arrived.acquire()
        self._requests += 1
        request = f"call-{self._requests}"
        self._answers[request] = (arrived, answer := [])
        try:
            self.send({**frame, "request": request})
            while not answer:
                self._read_or_wait(arrived)
        finally:
            del self._answers[request]
            if not answer:
                self.send({"type": "withdrawn", "request": request})
        reply = answer[0]
        if reply.get("error") is not None:
            raise RuntimeError(reply["error"])
        return reply.get("value")

    def _read_or_wait(self, arrived) -> None:
        """Reads once; or, while somebody else reads, waits to be told. Whoever reads tells everybody."""
        if self._reading.acquire(False):
            try:
                # What somebody else has just read may be what is waited for.
                if not arrived.acquire(False):
                    self._read()
            finally:
                self._reading.release()
        else:
            arrived.acquire(True, _WAIT_SECONDS)

    def _read(self) -> None:
        if not self._chunks:
            try:
                # In one step: a signal handler that raises cannot come between reading bytes and keeping them.
                self._chunks.extend(map(_read, (self._descriptor,), (_CHUNK,)))
            except BlockingIOError:
                _wait(self._descriptor, POLLIN)
                return
            except ConnectionError:
                raise ChannelClosed from None
            except OSError:
                raise ChannelLost from None
        # The chunk stays until its frames are kept, so that `pending` never misses a request on its way.
        chunk = self._chunks[0]
        if not chunk:
            raise ChannelClosed
        for frame in self._reader.feed(chunk):
            waiter = self._answers.get(frame.get("request")) if frame["type"] == "reply" else None
            if waiter is not None:
                arrived, answer = waiter
                answer.append(frame)
                if arrived.locked():
                    arrived.release()
            elif frame["type"] != "reply":
                self._frames.append(frame)
                if self._arrived.locked():
                    self._arrived.release()
                if self.on_frame is not None:
                    self.on_frame()
        self._chunks.popleft()


def _dial(path: str, keep_above: int) -> int:
    dialled = socket(AF_UNIX, SOCK_STREAM)
    dialled.connect(path)
    descriptor = fcntl(dialled.fileno(), F_DUPFD_CLOEXEC, keep_above)
    dialled.close()
    return descriptor


def _wait(descriptor: int, events: int) -> None:
    waiting = poll()
    waiting.register(descriptor, events)
    waiting.poll()
