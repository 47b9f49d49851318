"""Bounds on how long session code may take."""

from __future__ import annotations

from ..private import builtins as __builtins__

# The C module's own: what kernels put in their place is for session code.
from _signal import ITIMER_REAL, SIG_SETMASK, SIG_UNBLOCK, SIGALRM, pthread_sigmask, setitimer
from _signal import signal as _set_handler
from time import monotonic as _monotonic

from .reasons import TooSlow

_AGAIN_SECONDS = 0.2
"""What swallows the exception gets another."""


class Deadline:
    """Raises TooSlow in the block that takes longer. For the main thread of a process that is thrown away: signals are
    taken from whoever had them, and given back at the end."""

    def __init__(self) -> None:
        self._ends = None
        self._handler = None
        self._mask = None

    def __enter__(self) -> Deadline:
        self._handler = _set_handler(SIGALRM, self._ring)
        self._mask = pthread_sigmask(SIG_UNBLOCK, {SIGALRM})
        return self

    def __exit__(self, *_) -> None:
        setitimer(ITIMER_REAL, 0)
        self._ends = None
        if self._handler is not None:
            _set_handler(SIGALRM, self._handler)
        pthread_sigmask(SIG_SETMASK, self._mask)

    def start(self, seconds: float) -> None:
        """From now on so many seconds are left."""
        self._ends = _monotonic() + seconds
        setitimer(ITIMER_REAL, max(seconds, 0.001), _AGAIN_SECONDS)

    def stop(self) -> None:
        self._ends = None
        setitimer(ITIMER_REAL, 0)

    def _ring(self, *_) -> None:
        if self._ends is not None and _monotonic() >= self._ends:
            raise TooSlow("it took too long")
