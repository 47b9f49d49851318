"""The FIFOs that a kernel writes to: its output behind descriptors 1 and 2.

An execution that leaves threads, tasks or processes behind keeps its FIFOs: the next one gets fresh ones, so that
late output is told apart from its own.
"""

from __future__ import annotations

from .private import builtins as __builtins__

import sys
from array import array
from fcntl import F_DUPFD_CLOEXEC, fcntl, ioctl
from os import O_CLOEXEC, O_NONBLOCK, O_RDONLY, O_WRONLY, close, devnull, dup, dup2, fstat
from os import get_blocking, get_inheritable, set_blocking, set_inheritable
from os import open as _open

try:
    from termios import FIONREAD
except ImportError:  # this build has none
    FIONREAD = None

_PIPE_BYTES = 1024 * 1024
_SET_PIPE_SIZE = 1031  # fcntl.F_SETPIPE_SZ has a name from 3.10 on.
# Elsewhere a FIFO's writing end counts nothing, or something else.
_COUNTS_UNREAD = FIONREAD is not None and sys.platform == "linux"


class Fifos:
    """The two FIFOs behind descriptors 1 and 2, held through private descriptors too: openings of their own, which no
    child inherits, whose flags nobody shares, and which session code has no reason to touch."""

    def __init__(self, stdout: str, stderr: str, keep_above: int) -> None:
        """Paths of FIFOs that somebody has open for reading; private descriptors are `keep_above` or higher."""
        self._keep_above = keep_above
        self._counts = (array("i", [0]), array("i", [0]))
        self._private = [-1, -1]
        self.replace(stdout, stderr)

    def replace(self, stdout: str, stderr: str) -> tuple[int, int]:
        """Makes other FIFOs descriptors 1 and 2. Gives the private descriptors of the earlier ones to the caller.
        Raises OSError, and changes nothing, where they cannot be opened."""
        opened: list[int] = []
        try:
            for path in (stdout, stderr):
                opened.append(_open_fifo(path))
                opened.append(move_above(_open_fifo(path), self._keep_above))
        except OSError:
            for descriptor in opened:
                close(descriptor)
            raise
        earlier = (self._private[0], self._private[1])
        self._private = [opened[1], opened[3]]
        self._identity = [_identity(opened[1]), _identity(opened[3])]
        move(opened[0], 1)
        move(opened[2], 2)
        return earlier

    @property
    def descriptors(self) -> list[int]:
        """What holds them open."""
        return [1, 2, *[descriptor for descriptor in self._private if descriptor != -1]]

    def leave(self) -> None:
        """In a branch: lets go of its parent's FIFOs, but for descriptors 1 and 2, which become others next."""
        for descriptor in self._private:
            try:
                close(descriptor)
            except OSError:
                pass  # It had none, or session code closed it.
        self._private = [-1, -1]

    def silence(self) -> None:
        """What is written goes nowhere until `restore`."""
        for public in (1, 2):
            move(_open(devnull, O_WRONLY), public)

    def are_in_place(self) -> bool:
        """Whether descriptors 1 and 2 are the FIFOs, as children expect them, and there is a descriptor 0."""
        stdout, stderr = self._identity
        try:
            fstat(0)
            return (
                fstat(1)[1:3] == stdout
                and fstat(2)[1:3] == stderr
                and get_inheritable(1)
                and get_inheritable(2)
                and get_blocking(1)
                and get_blocking(2)
            )
        except OSError:
            return False

    def restore(self) -> None:
        """Makes descriptors 1 and 2 the FIFOs again, where session code closed or redirected them; and the private
        ones from those, where session code closed every descriptor it found."""
        for index, public in enumerate((1, 2)):
            wanted, private = self._identity[index], self._private[index]
            has_public, has_private = _identity(public) == wanted, _identity(private) == wanted
            try:
                if not has_private and has_public:
                    self._private[index] = _reopen(public, at_least=private)
                elif not has_public and has_private:
                    opened = _reopen(private, at_least=3)
                    dup2(opened, public, inheritable=True)
                    close(opened)
                set_inheritable(public, True)
                set_blocking(public, True)
            except OSError:
                pass  # No descriptor is free; the next execution may leave some.
        if _identity(0) is None:
            try:
                move(_open(devnull, O_RDONLY), 0)
            except OSError:
                pass

    def unread(self) -> dict:
        """How many bytes nobody has read yet, by stream; 1 where that cannot be told."""
        if not _COUNTS_UNREAD:
            return {"stdout": 1, "stderr": 1}
        stdout, stderr = self._counts
        try:
            ioctl(self._private[0], FIONREAD, stdout, True)
            ioctl(self._private[1], FIONREAD, stderr, True)
        except BaseException:  # closed by session code; or an audit hook of session code raised, whatever it likes
            self.restore()
            return {"stdout": _unread(self._private[0]), "stderr": _unread(self._private[1])}
        return {"stdout": stdout[0], "stderr": stderr[0]}


def _unread(descriptor: int) -> int:
    try:
        count = array("i", [0])
        ioctl(descriptor, FIONREAD, count, True)
        return count[0]
    except BaseException:
        return 1


def _identity(descriptor: int):
    """Device and inode of a descriptor's file; None when it is closed."""
    try:
        return fstat(descriptor)[1:3]
    except OSError:
        return None


def _reopen(descriptor: int, at_least: int):
    """A new opening of the FIFO behind a descriptor (its name is gone by now)."""
    try:
        opened = _open(f"/proc/self/fd/{descriptor}", O_WRONLY | O_CLOEXEC)
    except OSError:
        opened = dup(descriptor)  # Without /proc the flags are shared; that has to do.
    return move_above(opened, at_least)


def open_names(path: str, keep_above: int) -> int:
    """The FIFO that names requests to interrupt. The kernel only reads; it never waits for a writer."""
    return move_above(_open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC), keep_above)


def _open_fifo(path: str) -> int:
    # Without a reader the opening fails instead of waiting for ever.
    descriptor = _open(path, O_WRONLY | O_NONBLOCK | O_CLOEXEC)
    set_blocking(descriptor, True)
    try:
        fcntl(descriptor, _SET_PIPE_SIZE, _PIPE_BYTES)
    except OSError:
        pass  # Another system, or a user's pipe quota: the default size serves too.
    return descriptor


def move(descriptor: int, target: int) -> None:
    """Makes the descriptor `target`, which children inherit."""
    if descriptor != target:
        dup2(descriptor, target, inheritable=True)
        close(descriptor)
    else:
        set_inheritable(target, True)


def move_above(descriptor: int, bound: int) -> int:
    """Gives the descriptor another number, `bound` or higher."""
    moved = fcntl(descriptor, F_DUPFD_CLOEXEC, bound)
    close(descriptor)
    return moved
