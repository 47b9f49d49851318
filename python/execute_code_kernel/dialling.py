"""Connections to the daemon for branches of kernels in the reduced tier, whose filter refuses them sockets of their
own: the supervisor, which has no filter, makes them.

A request is one byte; its answer is one, with a connection when there is one. Whoever asks gets whichever comes: until
it has said who it is, one connection is as good as another.
"""

from __future__ import annotations

from .private import builtins as __builtins__

from array import array
from fcntl import F_DUPFD_CLOEXEC, fcntl
from os import close, set_blocking
from select import POLLIN, poll
from _socket import AF_UNIX, CMSG_SPACE, SCM_RIGHTS, SOCK_SEQPACKET, SOCK_STREAM, SOL_SOCKET, socket, socketpair

_AT_ONCE = 64
_WAIT_SECONDS = 10.0


class Dialler:
    """The supervisor's side."""

    def __init__(self) -> None:
        ours, theirs = socketpair(AF_UNIX, SOCK_SEQPACKET)
        ours.setblocking(False)
        self._socket = ours
        self.descriptor = ours.fileno()
        """Readable when somebody asks."""
        self.asked_at = theirs.detach()
        """The kernels' end."""
        self.listener = ""

    def serve(self) -> None:
        for _ in range(_AT_ONCE):
            try:
                self._socket.recv(1)
                dialled = socket(AF_UNIX, SOCK_STREAM)
            except OSError:
                return
            try:
                dialled.setblocking(False)
                connection = [] if dialled.connect_ex(self.listener) else [dialled.fileno()]
                told = [(SOL_SOCKET, SCM_RIGHTS, array("i", connection))] if connection else []
                self._socket.sendmsg([b"d"], told)
            except OSError:
                pass  # Those who ask do not take what they are given.
            finally:
                dialled.close()


def ask(descriptor: int, keep_above: int) -> int:
    """In a branch: a connection to the daemon, from `keep_above` on. Raises OSError."""
    asked = socket(AF_UNIX, SOCK_SEQPACKET, 0, descriptor)
    try:
        asked.send(b"d")
        waiting = poll()
        waiting.register(descriptor, POLLIN)
        if not waiting.poll(_WAIT_SECONDS * 1000):
            raise OSError("the supervisor does not answer")
        _, told, _, _ = asked.recvmsg(1, CMSG_SPACE(4))
    finally:
        asked.detach()
    for level, kind, data in told:
        if level == SOL_SOCKET and kind == SCM_RIGHTS:
            (got,) = array("i", data)
            moved = fcntl(got, F_DUPFD_CLOEXEC, keep_above)
            close(got)
            set_blocking(moved, True)
            return moved
    raise OSError("the daemon cannot be reached")
