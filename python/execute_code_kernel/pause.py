"""The wait of a snapshot, which begins with its fork: what it does not touch stays shared with the kernel.

Nothing has been done yet in the copy that a fork asks for, not even the interpreter's own steps, and nothing is until
the daemon says something. It only leaves what is the kernel's: its process session, its descriptors, its signals.
"""

from __future__ import annotations

from .private import builtins as __builtins__

import ctypes
from functools import partial
from os import O_CLOEXEC, O_RDWR, _exit, close, devnull, dup2, setsid
from os import open as _open
from _signal import SIG_BLOCK, SIG_SETMASK, pthread_sigmask, valid_signals

try:
    from _signal import sigtimedwait
except ImportError:  # this system has none
    sigtimedwait = None

from .processes import DIE_WITH_PARENT

_READABLE = 0x0001  # POLLIN
_ALL_SIGNALS = valid_signals()


class _Waiting(ctypes.Structure):
    """struct pollfd"""

    _fields_ = (("descriptor", ctypes.c_int), ("events", ctypes.c_short), ("found", ctypes.c_short))


# With the interpreter's lock held: to take it again is for later, too.
_poll = ctypes.PyDLL(None).poll
_poll.argtypes = (ctypes.c_void_p, ctypes.c_ulong, ctypes.c_int)
_poll.restype = ctypes.c_int


_MADV_POPULATE_READ = 22  # since Linux 5.14; before that it is refused, which does no harm
_LARGE = 2 * 1024 * 1024
_advise = ctypes.PyDLL(None).madvise
_advise.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int)
_advise.restype = ctypes.c_int


def _programs() -> list:
    """Where the code of the interpreter, and of what else is large, lies: addresses and lengths."""
    found = []
    try:
        with open("/proc/self/maps", "rb") as maps:
            lines = maps.read().splitlines()
    except OSError:
        return []
    for line in lines:
        place, rights, _, _, inode = line.split(None, 5)[:5]
        if rights == b"r-xp" and inode != b"0":
            start, end = [int(bound, 16) for bound in place.split(b"-")]
            if end - start >= _LARGE:
                found.append((start, end - start))
    return found


_PROGRAMS = _programs()


_MAPPINGS = [partial(_advise, start, length, _MADV_POPULATE_READ) for start, length in _PROGRAMS]


def map_programs() -> None:
    """Maps all pages of programs, which a fork leaves to be found one by one."""
    for mapping in _MAPPINGS:
        mapping()


class Pause:
    """Made before the fork, called in the copy: returns when something arrives on its connection, or that ends.

    `descriptors` are the kernel's: in the copy they lead nowhere, until it closes them. Signals are blocked from here on,
    in the kernel until `close`.
    """

    def __init__(self, descriptors: list) -> None:
        """Raises OSError."""
        self.connection = -1
        self.exchange = None
        """What the copy has in place of pipes and sockets of session code, or None."""
        self._descriptors = descriptors
        self._nowhere = _open(devnull, O_RDWR | O_CLOEXEC)
        self._waiting = _Waiting(-1, _READABLE, 0)
        self._place = ctypes.addressof(self._waiting)
        self._mask = pthread_sigmask(SIG_BLOCK, _ALL_SIGNALS)

    def listen_to(self, connection: int) -> None:
        self.connection = self._waiting.descriptor = connection

    def __call__(self) -> None:
        try:
            self._wait()
        except BaseException:
            _exit(1)  # Whoever waits for it learns of its end.

    def _wait(self) -> None:
        setsid()
        DIE_WITH_PARENT()
        nowhere, place, mappings, exchange = self._nowhere, self._place, _MAPPINGS, self.exchange
        for descriptor in self._descriptors:
            try:
                dup2(nowhere, descriptor, False)
            except OSError:
                close(descriptor)  # Session code has lowered the limit of descriptors to less than its number.
        close(nowhere)
        if exchange is not None:
            exchange.make()
        for mapping in mappings:
            mapping()  # While nobody waits: whoever goes on needs them at once.
        while _poll(place, 1, -1) == -1:
            pass
        # Who goes on is not whom a signal was meant for.
        while sigtimedwait is not None and sigtimedwait(_ALL_SIGNALS, 0) is not None:
            pass
        pthread_sigmask(SIG_SETMASK, self._mask)

    def close(self) -> None:
        """In the kernel, where the copy has its own connection now."""
        close(self._nowhere)
        if self.connection != -1:
            close(self.connection)
        pthread_sigmask(SIG_SETMASK, self._mask)
