"""What is open already when an execution begins, and whether it has been used: going through it raises no audit event.

A file's size, time and position tell, and a TCP connection's counters of bytes. Of what goes through pipes, terminals
and local sockets nothing is kept anywhere but in the count of what this process has written in all: of them it is only
told whether there are some that lead out of the process.
"""

from __future__ import annotations

from .private import builtins as __builtins__

from _socket import AF_INET, AF_INET6, AF_UNIX, IPPROTO_TCP, SO_ACCEPTCONN, SOCK_STREAM, SOL_SOCKET
from _socket import socket as _socket
from array import array
from fcntl import F_GETFL, fcntl, ioctl
from os import O_ACCMODE, O_RDONLY, O_WRONLY, SEEK_CUR, fstat, isatty, listdir, lseek, stat
from stat import S_ISCHR, S_ISFIFO, S_ISREG, S_ISSOCK
from struct import unpack_from

from .places import address_of, behind

_STREAMS = (0, 1, 2)
_UNREAD, _UNSENT = 0x541B, 0x5411  # SIOCINQ, SIOCOUTQ of Linux.
_INFO, _INFO_BYTES, _INFO_COUNTERS = 11, 136, 120
"""TCP_INFO of Linux: up to the two counters, of bytes that were acknowledged and received."""
_HALF_CLOSED = (8, 9, 11)
"""States in which the other side's end counts as a byte that was received: CLOSE_WAIT, LAST_ACK, CLOSING."""
_LOOKS = 3


class Held:
    """The files and connections that are open at one moment."""

    def __init__(self) -> None:
        self.files: dict[int, tuple] = {}
        """By descriptor: what writing to the file changes, and its path."""
        self.connections: dict[int, tuple] = {}
        """By descriptor: the connection's inode and counters, the kind of effect that opening it is, its address."""
        self.leads_out = False
        """There is a pipe, a terminal or a local socket that others may read from."""

    def __bool__(self) -> bool:
        return self.leads_out or bool(self.files) or bool(self.connections)

    def used(self) -> list[tuple]:
        """Kind and target of what has happened to them since."""
        found = []
        for descriptor, (before, path) in self.files.items():
            now = _file_now(descriptor, path, before)
            if path and now is not None and now != before:
                found.append(("write", path))
        for descriptor, (inode, before, kind, address) in self.connections.items():
            # One that has been closed may have been used before that.
            if _inode(descriptor) != inode or _counters_of(descriptor) != before:
                found.append((kind, address))
        return found

    def opened_since(self, earlier: Held | None) -> list[tuple]:
        """Kind and target of what is open now and was not then; None stands for nothing."""
        earlier = earlier or Held()
        known = {state[:2] for state, _ in earlier.files.values()}
        found = [("write", path) for state, path in self.files.values() if path and state[:2] not in known]
        known = {inode for inode, *_ in earlier.connections.values()}
        found += [(kind, address) for inode, _, kind, address in self.connections.values() if inode not in known]
        return found

    def add_socket(self, descriptor: int, inode: int, has_children: bool) -> None:
        opened = _socket(fileno=descriptor)
        try:
            if opened.family == AF_UNIX:
                # A pair of sockets has no names.
                self.leads_out |= bool(opened.getpeername() or opened.getsockname() or has_children)
            elif opened.family in (AF_INET, AF_INET6):
                if opened.type == SOCK_STREAM and opened.getsockopt(SOL_SOCKET, SO_ACCEPTCONN):
                    entry = inode, None, "listen", address_of(opened.getsockname())
                else:
                    entry = inode, _counters(opened), "connect", address_of(opened.getpeername())
                self.connections[descriptor] = entry
        except OSError:
            pass  # It is connected with nobody.
        finally:
            opened.detach()


def look(below: int, has_children: bool) -> Held:
    """What is open at descriptors `below` this one, but for the three streams. Raises OSError when no descriptor is
    free for the look."""
    held = Held()
    inner = {_inode(descriptor) for descriptor in _STREAMS}
    pipes, read = set(), set()
    for descriptor in [int(name) for name in listdir("/proc/self/fd")]:
        if not len(_STREAMS) <= descriptor < below:
            continue
        try:
            found = fstat(descriptor)
            access = fcntl(descriptor, F_GETFL) & O_ACCMODE
            if S_ISREG(found.st_mode) and access != O_RDONLY:
                held.files[descriptor] = _file_state(descriptor, access), behind(descriptor)
            elif S_ISSOCK(found.st_mode):
                held.add_socket(descriptor, found.st_ino, has_children)
            elif S_ISFIFO(found.st_mode):
                if access != O_WRONLY and not behind(descriptor):
                    read.add(found.st_ino)
                if access != O_RDONLY:
                    pipes.add(found.st_ino)
            elif S_ISCHR(found.st_mode) and access != O_RDONLY:
                held.leads_out |= isatty(descriptor)
        except OSError:
            pass  # The listing's own, or closed by a thread meanwhile.
    if not has_children:
        # With both ends here a pipe without a name is for this process alone.
        inner |= read
    held.leads_out |= not pipes <= inner
    return held


def _file_state(descriptor: int, access: int) -> tuple:
    """Device, inode, size and time of a file that is open for writing, and the position where only writing moves that.
    Raises OSError."""
    found = fstat(descriptor)
    position = lseek(descriptor, 0, SEEK_CUR) if access == O_WRONLY else 0
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, position


def _file_now(descriptor: int, path: str, before: tuple):
    """What has become of a file; None when it is not there any more."""
    try:
        now = _file_state(descriptor, fcntl(descriptor, F_GETFL) & O_ACCMODE)
        if now[:2] == before[:2]:
            return now
    except OSError:
        pass
    # It has been closed, which writes what was pending.
    try:
        found = stat(path)
    except (OSError, ValueError):
        return None
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, before[4]


def _inode(descriptor: int) -> int:
    try:
        return fstat(descriptor).st_ino
    except OSError:
        return -1


def _counters_of(descriptor: int):
    opened = _socket(fileno=descriptor)
    try:
        return _counters(opened)
    finally:
        opened.detach()


def _counters(opened: _socket):
    """How many bytes the process has written to a TCP connection and read from it; None where that cannot be told.
    What is on its way meanwhile makes no difference."""
    try:
        before = None
        for _ in range(_LOOKS):
            info = opened.getsockopt(IPPROTO_TCP, _INFO, _INFO_BYTES)
            if len(info) < _INFO_BYTES:
                return None
            sent, received = unpack_from("=QQ", info, _INFO_COUNTERS)
            if before == (sent, received):
                break
            before = sent, received
            unsent, unread = _queued(opened, _UNSENT), _queued(opened, _UNREAD)
    except OSError:
        return None
    return sent + unsent, received - unread - (info[0] in _HALF_CLOSED)


def _queued(opened: _socket, request: int) -> int:
    count = array("i", [0])
    ioctl(opened.fileno(), request, count, True)
    return count[0]
