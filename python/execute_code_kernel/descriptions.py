"""Open files of session code in a copy of this process.

A fork shares the open file descriptions of its parent: what one of them reads or writes moves the position of both. So
a copy opens the files anew, by `/proc/self/fd`, which works for deleted ones, too, at the positions that they had when it
was made: a fork at once, a snapshot when it goes on. Only what is noted here before the fork is remembered meanwhile.

Devices stay shared, and what is said of pipes and sockets in `links`; so do the streams, and files that this process may not open a second time, which
are named among what is unsafe.
"""

from __future__ import annotations

from .private import builtins as __builtins__

from fcntl import FD_CLOEXEC, F_GETFD, F_GETFL, F_RDLCK, F_UNLCK, F_WRLCK, fcntl
from os import (
    O_ACCMODE,
    O_CLOEXEC,
    O_DIRECTORY,
    O_NOFOLLOW,
    O_RDONLY,
    O_WRONLY,
    R_OK,
    SEEK_CUR,
    SEEK_SET,
    W_OK,
    access,
    close,
    dup2,
    fstat,
    lseek,
)
from os import open as _open
from stat import S_ISREG
from struct import pack, unpack

_OFD_GETLK, _OFD_SETLK = 36, 37
_LOCK = "hhqqi4x"
_FAR = 1 << 62
"""A byte that no file has."""
_TMPFILE = 0o20000000  # of Linux, without what it implies
_NOT_AGAIN = O_DIRECTORY | O_NOFOLLOW | _TMPFILE
"""Flags of an open file that are for its making."""


class OpenFile:
    """A file as it is open at a descriptor now."""

    def __init__(self, descriptor: int, path: str) -> None:
        """Raises OSError when it is no ordinary file, or is closed already."""
        found = fstat(descriptor)
        if not S_ISREG(found.st_mode):
            raise OSError
        self.descriptor = descriptor
        self.path = path
        self.flags = fcntl(descriptor, F_GETFL) & ~_NOT_AGAIN
        self.position = lseek(descriptor, 0, SEEK_CUR)
        self.inherited = not fcntl(descriptor, F_GETFD) & FD_CLOEXEC
        self.inode = found.st_dev, found.st_ino
        self.same: OpenFile | None = None
        """An earlier one, of whose description this is another descriptor."""

    @property
    def may_be_opened_again(self) -> bool:
        asked = {O_RDONLY: R_OK, O_WRONLY: W_OK}.get(self.flags & O_ACCMODE, R_OK | W_OK)
        return access(f"/proc/self/fd/{self.descriptor}", asked, effective_ids=True)

    @property
    def state(self) -> tuple:
        """Alike for descriptors of one description."""
        return self.inode, self.flags, self.position

    def find_same(self, others: list[OpenFile]) -> None:
        """Which of these are of its description: a lock of one does not stand in the way of another."""
        kind = F_WRLCK if self.flags & O_ACCMODE == O_WRONLY else F_RDLCK
        try:
            fcntl(self.descriptor, _OFD_SETLK, pack(_LOCK, kind, SEEK_SET, _FAR, 1, 0))
        except OSError:
            return  # Its file system knows no locks, or somebody has locked all of it.
        for other in others:
            asked = fcntl(other.descriptor, _OFD_GETLK, pack(_LOCK, F_WRLCK, SEEK_SET, _FAR, 1, 0))
            if unpack(_LOCK, asked)[0] == F_UNLCK:
                other.same = self
        fcntl(self.descriptor, _OFD_SETLK, pack(_LOCK, F_UNLCK, SEEK_SET, _FAR, 1, 0))

    def open_again(self) -> None:
        """In the copy, at the same number. Raises OSError."""
        opened = self.same.descriptor if self.same is not None else self._opened()
        try:
            dup2(opened, self.descriptor, self.inherited)
        finally:
            if self.same is None:
                close(opened)

    def _opened(self) -> int:
        opened = _open(f"/proc/self/fd/{self.descriptor}", self.flags | O_CLOEXEC)
        lseek(opened, self.position, SEEK_SET)
        return opened


def look(listed: list) -> list[OpenFile]:
    """The files among session code's descriptors, which are listed with their targets."""
    found: list[OpenFile] = []
    alike: dict[tuple, list] = {}
    for descriptor, target in listed:
        if target[:1] == "/":
            try:
                one = OpenFile(descriptor, target)
            except OSError:
                continue
            found.append(one)
            alike.setdefault(one.state, []).append(one)
    for group in alike.values():
        for at, one in enumerate(group[:-1]):
            if one.same is None:
                one.find_same([other for other in group[at + 1 :] if other.same is None])
    return found


def part(files: list[OpenFile]) -> None:
    """In the copy: what happens to these files here does not move the positions of those that they were noted in."""
    for one in files:
        try:
            one.open_again()
        except OSError:
            pass  # It stays shared: `unsafe.find` has named it.
