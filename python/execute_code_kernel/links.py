"""Pipes and sockets of session code in a copy of this process.

Their other ends wait for the last of those who hold them: as long as a copy does, nobody learns that the session has
closed one, and a port stays taken. So a copy that only waits, or only writes variables down, holds none: there they lead
nowhere, and what is done to them fails (EBADF). A pipe of which this process has both ends is each copy's own, with what
was on its way. All others a fork shares with its parent; which of them are unsafe is said elsewhere (`unsafe`).
"""

from __future__ import annotations

from .private import builtins as __builtins__

from ctypes import PyDLL, c_int, c_size_t, c_uint
from fcntl import F_GETFL, F_SETFL, fcntl, ioctl
from os import O_ACCMODE, O_CLOEXEC, O_RDONLY, O_RDWR, O_WRONLY, close, devnull, dup2, fstat, get_inheritable, getpid
from os import open as _open
from os import pipe
from select import POLLIN, poll
from stat import S_ISFIFO
from struct import unpack
from sys import byteorder
from _socket import AF_UNIX, SOL_SOCKET
from _socket import socket as _socket

try:
    from os import O_PATH as _NEITHER
    from _socket import SO_PEERCRED
except ImportError:  # this system has none
    _NEITHER, SO_PEERCRED = O_RDWR, 17

_FIONREAD = 0x541B
_SPLICE_F_NONBLOCK = 2
_F_SETPIPE_SZ, _F_GETPIPE_SZ = 1031, 1032
_COPY_MS = 1_000
_PEER_BYTES = 12
"""struct ucred: the number of a process, a user, a group."""

_tee = PyDLL(None).tee
_tee.argtypes = (c_int, c_int, c_size_t, c_uint)


class Links:
    """The pipes and sockets among session code's descriptors, which are listed with their targets."""

    def __init__(self, listed: list) -> None:
        self._pipes: list[tuple] = []
        """Those of which both ends are here: descriptors to read from, and to write to."""
        self._others: list[int] = []
        ends: dict[str, list] = {}
        for descriptor, target in listed:
            if _is_link(descriptor, target):
                ends.setdefault(target, []).append(descriptor)
        for target, descriptors in ends.items():
            modes = [fcntl(one, F_GETFL) & O_ACCMODE for one in descriptors]
            if target.startswith("pipe:") and {O_RDONLY, O_WRONLY} == set(modes):
                of = lambda wanted: [one for one, mode in zip(descriptors, modes) if mode == wanted]  # noqa: B023, E731
                self._pipes.append((of(O_RDONLY), of(O_WRONLY)))
            else:
                self._others += descriptors

    @property
    def lead_out(self) -> bool:
        """Whether one that is lost to a copy that waits leads to another process."""
        return any([not _is_within(descriptor) for descriptor in self._others])

    def for_copy(self, waits: bool) -> Exchange:
        """Before a fork: what its copy is to have in their place. `waits`: it holds none that leads anywhere else."""
        exchange = Exchange()
        lost = list(self._others)
        for reading, writing in self._pipes:
            if not exchange.renew(reading, writing):
                lost += [*reading, *writing]
        if waits:
            exchange.lose(lost)
        return exchange


class Exchange:
    """Descriptors that a copy is to have in place of those that it was forked with: `make` there, `close` here."""

    def __init__(self) -> None:
        self._pairs: list[tuple] = []
        """A descriptor, the one whose place it takes, and whether programs inherit that."""
        self._opened: list[int] = []
        self._made = -1
        """Readable when the copy has made the exchange."""

    def lose(self, descriptors: list[int]) -> None:
        """They are to lead nowhere. Raises OSError."""
        if descriptors:
            nowhere = _open(devnull, _NEITHER | O_CLOEXEC)
            self._opened.append(nowhere)
            self._pairs += [(nowhere, one, get_inheritable(one)) for one in descriptors]
            self._made, held = pipe()
            self._opened.append(held)

    def renew(self, reading: list[int], writing: list[int]) -> bool:
        """They are to be another pipe, with the same content; whether there can be one."""
        try:
            opened = pipe()
        except OSError:
            return False
        self._opened += opened
        for own, theirs in zip(opened, (reading, writing)):
            fcntl(own, F_SETFL, fcntl(theirs[0], F_GETFL))
            self._pairs += [(own, one, get_inheritable(one)) for one in theirs]
        _fill(opened[1], reading[0])
        return True

    def make(self) -> None:
        for own, theirs, inherited in self._pairs:
            try:
                dup2(own, theirs, inherited)
            except OSError:
                close(theirs)  # Session code has lowered the limit of descriptors to less than its number.
        self._close()

    def close(self) -> None:
        """Waits for the copy: what goes on here may close what it still holds, and rely on that."""
        made, self._made = self._made, -1
        self._close()
        if made != -1:
            waiting = poll()
            waiting.register(made, POLLIN)
            waiting.poll(_COPY_MS)
            close(made)

    def _close(self) -> None:
        for descriptor in self._opened:
            close(descriptor)
        if self._made != -1:
            close(self._made)


def _fill(writing: int, reading: int) -> None:
    """What waits in a pipe is in this one, too."""
    waiting = int.from_bytes(ioctl(reading, _FIONREAD, bytes(4)), byteorder)
    if waiting > 0:
        fcntl(writing, _F_SETPIPE_SZ, fcntl(reading, _F_GETPIPE_SZ))
        _tee(reading, writing, waiting, _SPLICE_F_NONBLOCK)


def _is_link(descriptor: int, target: str) -> bool:
    if target.startswith(("pipe:", "socket:")):
        return True
    try:
        return target[:1] == "/" and S_ISFIFO(fstat(descriptor).st_mode)
    except OSError:
        return False


def _is_within(descriptor: int) -> bool:
    """Whether it is one of a pair of sockets that this process has made for itself, as event loops do."""
    try:
        opened = _socket(fileno=descriptor)
    except OSError:
        return False
    try:
        peer = opened.getsockopt(SOL_SOCKET, SO_PEERCRED, _PEER_BYTES) if opened.family == AF_UNIX else b""
        return len(peer) == _PEER_BYTES and unpack("3i", peer)[0] == getpid()
    except OSError:
        return False
    finally:
        opened.detach()
