"""The network relay: carries bytes between a port of the box's own loopback and the daemon's proxy.

Programs know proxies by host and port; the daemon's is a unix socket in the box's folder. The relay understands nothing
of what it carries, and decides nothing: a session that kills or replaces it only harms its own network.

A connection: relayed → lingering, when the proxy has ended it and the client still has to take the rest → closed. A
client that is gone ends it at once.
"""

from __future__ import annotations

from .private import builtins as __builtins__

import os
import signal
import time
from _socket import AF_INET, AF_UNIX, IPPROTO_TCP, SHUT_WR, SO_REUSEADDR, SOCK_STREAM, SOL_SOCKET, TCP_NODELAY
from _socket import socket, socketpair
from select import POLLERR, POLLHUP, POLLIN, POLLOUT, poll

from .processes import die_with_parent, set_dumpable

HOST = "127.0.0.1"
PORT = 3128

_CONNECTIONS = 128
_BACKLOG = 128
_BUFFERED = 65536
"""Bytes of one direction of a connection that are held here, at most; then its sender waits."""
_LINGER_SECONDS = 10.0
_LINGER_LOOK_MS = 1000
_FIRST_DELAY_SECONDS = 0.1
_LONGEST_DELAY_SECONDS = 30.0
_BROKEN = POLLHUP | POLLERR

_NO_PROXY = b"The daemon's network proxy does not answer.\n"
_UNAVAILABLE = (
    b"HTTP/1.1 503 Service Unavailable\r\ncontent-type: text/plain\r\ncontent-length: %d\r\n"
    b"connection: close\r\n\r\n%s" % (len(_NO_PROXY), _NO_PROXY)
)


class Relay:
    """The supervisor's side: the listening socket, and the process that serves it.

    The socket is kept here, so that connections wait while a relay that was killed is replaced, and nobody else can
    take its port. Raises OSError when the port cannot be had.
    """

    def __init__(self, path: str, port: int = PORT) -> None:
        listener = socket(AF_INET, SOCK_STREAM)
        listener.setsockopt(SOL_SOCKET, SO_REUSEADDR, 1)
        listener.bind((HOST, port))
        listener.listen(_BACKLOG)
        listener.setblocking(False)
        self._path = path
        self.descriptor = listener.detach()
        self.pid: int | None = None
        self._began = 0.0
        self._due = 0.0
        self._delay = 0.0

    def due_in(self) -> float | None:
        """Seconds until a new process is to be forked; None while there is one."""
        return None if self.pid is not None else max(self._due - time.monotonic(), 0.0)

    def fork(self, close: tuple[int, ...]) -> None:
        """Starts the process, without these descriptors of the supervisor. Raises OSError."""
        supervisor = os.getpid()
        self._began = time.monotonic()
        self.pid = os.fork()
        if self.pid == 0:
            _become_relay(self.descriptor, self._path, supervisor, close)

    def ended(self) -> None:
        """The process is gone, or could not be forked: the next one comes the later the more often this happens."""
        now = time.monotonic()
        if now - self._began > _LONGEST_DELAY_SECONDS:
            self._delay = 0.0
        self._delay = min(max(2 * self._delay, _FIRST_DELAY_SECONDS), _LONGEST_DELAY_SECONDS)
        self._due = now + self._delay
        self.pid = None


def _become_relay(listener: int, path: str, supervisor: int, close: tuple[int, ...]) -> None:
    """Makes this process, just forked, a relay. Does not return."""
    try:
        signal.set_wakeup_fd(-1)
        for number in signal.valid_signals():
            if callable(signal.getsignal(number)):
                signal.signal(number, signal.SIG_DFL)
        set_dumpable(False)
        die_with_parent()
        if os.getppid() != supervisor:
            os._exit(0)  # It ended before this process could ask to end with it.
        os.setsid()
        for descriptor in close:
            os.close(descriptor)
        _Loop(socket(fileno=listener), path).run()
    except BaseException as error:
        os.write(2, f"The network relay failed: {type(error).__name__}: {error}\n".encode("utf-8", "replace"))
    finally:
        os._exit(1)


class _Flow:
    """One direction of a connection: what `source` sends is for `target`."""

    __slots__ = ("source", "target", "held", "ended", "finished")

    def __init__(self, source: socket, target: socket) -> None:
        self.source = source
        self.target = target
        self.held = bytearray()
        self.ended = False
        """The source sends no more."""
        self.finished = False
        """The target has been told so, or takes no more: what still comes is thrown away."""

    @property
    def wants_to_read(self) -> bool:
        return not self.ended and len(self.held) < _BUFFERED

    def read(self) -> None:
        """Raises OSError, but for a source that has nothing yet."""
        try:
            data = self.source.recv(_BUFFERED - len(self.held))
        except BlockingIOError:
            return
        if not data:
            self.ended = True
        elif not self.finished:
            self.held += data

    def write(self) -> bool:
        """Whether anything was taken. Raises OSError, but for a target that takes nothing now."""
        if self.held:
            try:
                sent = self.target.send(self.held)
            except BlockingIOError:
                return False
            del self.held[:sent]
        if self.ended and not self.held and not self.finished:
            self.finished = True
            self.target.shutdown(SHUT_WR)
        return True

    def discard(self) -> None:
        """The target is gone."""
        self.held.clear()
        self.finished = True


class _Connection:
    """A client and its connection to the proxy."""

    __slots__ = ("client", "proxy", "up", "down", "over", "deadline")

    def __init__(self, client: socket, proxy: socket) -> None:
        self.client = client
        self.proxy = proxy
        self.up = _Flow(client, proxy)
        self.down = _Flow(proxy, client)
        self.over = False
        self.deadline: float | None = None
        """When it lingers: the end of the patience with a client that takes nothing."""

    def ready(self, from_client: bool, events: int) -> None:
        """Does what a socket is ready for."""
        incoming, outgoing = (self.up, self.down) if from_client else (self.down, self.up)
        if events & (POLLIN | _BROKEN) and incoming.wants_to_read:
            self._move(incoming, read=True)
        if events & (POLLOUT | _BROKEN) and outgoing.held and not self.over:
            self._move(outgoing, read=False)

    def _move(self, flow: _Flow, read: bool) -> None:
        if read:
            try:
                flow.read()
            except OSError:
                if flow.source is self.client:
                    self.over = True
                    return
                flow.ended = True  # What the proxy has sent before is still delivered.
        try:
            progress = flow.write()
        except OSError:
            if flow.target is self.client:
                self.over = True
                return
            flow.discard()
            progress = False
        if flow is self.down and flow.ended and (progress or self.deadline is None):
            self.deadline = time.monotonic() + _LINGER_SECONDS
        self.over = all(one.ended and not one.held for one in (self.up, self.down))

    def interest(self, of_client: bool) -> int:
        incoming, outgoing = (self.up, self.down) if of_client else (self.down, self.up)
        return (POLLIN if incoming.wants_to_read else 0) | (POLLOUT if outgoing.held else 0)


class _Loop:
    """Serves the listening socket, one event after the other."""

    def __init__(self, listener: socket, path: str) -> None:
        self._listener = listener
        self._path = path
        self._poll = poll()
        self._connections: dict[int, _Connection] = {}
        """By the descriptors of both sockets."""
        self._masks: dict[int, int] = {}
        """What each registered descriptor waits for."""

    def run(self) -> None:
        """Does not return. Raises OSError when nothing can be accepted any more."""
        accepting = self._listener.fileno()
        while True:
            self._watch(accepting, POLLIN if len(self._connections) < 2 * _CONNECTIONS else 0)
            lingering = any(one.deadline is not None for one in self._connections.values())
            for descriptor, events in self._poll.poll(_LINGER_LOOK_MS if lingering else None):
                if descriptor == accepting:
                    self._accept()
                    continue
                connection = self._connections.get(descriptor)
                # Its other socket may have ended it in this very round.
                if connection is not None:
                    connection.ready(descriptor == connection.client.fileno(), events)
                    self._settle(connection)
            if lingering:
                now = time.monotonic()
                for connection in set(self._connections.values()):
                    if connection.deadline is not None and connection.deadline < now:
                        self._close(connection)

    def _accept(self) -> None:
        try:
            descriptor, _ = self._listener._accept()
        except (BlockingIOError, ConnectionAbortedError):
            return
        client = socket(fileno=descriptor)
        client.setblocking(False)
        client.setsockopt(IPPROTO_TCP, TCP_NODELAY, 1)
        connection = _Connection(client, self._dial())
        for one in (connection.client, connection.proxy):
            self._connections[one.fileno()] = connection
        self._settle(connection)

    def _dial(self) -> socket:
        proxy = socket(AF_UNIX, SOCK_STREAM)
        proxy.setblocking(False)
        try:
            proxy.connect(self._path)
        except OSError:
            proxy.close()
            proxy, answering = socketpair(AF_UNIX, SOCK_STREAM)
            proxy.setblocking(False)
            answering.send(_UNAVAILABLE)
            answering.close()
        return proxy

    def _settle(self, connection: _Connection) -> None:
        if connection.over:
            self._close(connection)
            return
        self._watch(connection.client.fileno(), connection.interest(of_client=True))
        self._watch(connection.proxy.fileno(), connection.interest(of_client=False))

    def _watch(self, descriptor: int, mask: int) -> None:
        """A descriptor that waits for nothing is not registered: a broken one would be reported all the time."""
        known = self._masks.get(descriptor, 0)
        if mask == known:
            return
        if mask == 0:
            self._poll.unregister(descriptor)
            del self._masks[descriptor]
            return
        self._poll.register(descriptor, mask)
        self._masks[descriptor] = mask

    def _close(self, connection: _Connection) -> None:
        for one in (connection.client, connection.proxy):
            self._watch(one.fileno(), 0)
            del self._connections[one.fileno()]
            one.close()
