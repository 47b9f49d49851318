"""From a fresh fork of the supervisor to a running kernel."""

from __future__ import annotations

from .private import builtins as __builtins__

import fcntl
import os
import resource
import signal
import sys
import time

from .channel import Channel
from .kernel import Kernel
from .metrics import Meter
from .processes import die_with_parent, set_dumpable
from .streams import Fifos, Streams

_FAILED = 70
_PIPE_BYTES = 1024 * 1024
_SET_PIPE_SIZE = 1031  # fcntl.F_SETPIPE_SZ has a name from 3.10 on.


class Launch:
    """A `fork` command, checked."""

    def __init__(self, frame: dict) -> None:
        self.nonce = _text(frame, "nonce")
        self.listener = _text(frame, "listener")
        self.stdout = _text(frame, "stdout")
        self.stderr = _text(frame, "stderr")
        self.cwd = _text(frame, "cwd")
        self.env = {str(name): str(value) for name, value in frame["env"].items()}


def _text(frame: dict, name: str) -> str:
    value = frame[name]
    if type(value) is not str:
        raise TypeError(f"{name} must be a string")
    return value


def become_kernel(request: Launch, close: tuple[int, ...]) -> None:
    """Makes this process, just forked, a kernel and runs it. Does not return."""
    complaints = 2
    try:
        complaints = _move_high(os.dup(2))
        os.setsid()
        _reset_signals()
        for descriptor in close:
            os.close(descriptor)
        set_dumpable(True)
        die_with_parent()
        fifos = _connect_output(request)
        _replace_environment(request.env)
        os.chdir(request.cwd)
        # As in an interactive interpreter: modules in the current folder can be imported.
        sys.path.insert(0, "")
        sys.argv = [""]
        channel = Channel(request.listener, keep_above=_high_descriptor())
        kernel = Kernel(channel, Streams(), fifos, Meter(keep_above=_high_descriptor()), request.nonce)
        os.close(complaints)
        complaints = 2
        kernel.run()
    except BaseException as error:
        reason = f"The kernel could not start: {type(error).__name__}: {error}\n"
        os.write(complaints, reason.encode("utf-8", "replace"))
    finally:
        os._exit(_FAILED)


def _reset_signals() -> None:
    signal.set_wakeup_fd(-1)
    for number in signal.valid_signals():
        handler = signal.getsignal(number)
        if callable(handler):
            signal.signal(number, signal.SIG_DFL)


def _connect_output(request: Launch) -> Fifos:
    """Makes the FIFOs descriptors 1 and 2. The kernel keeps openings of its own, which no child inherits and whose
    flags nobody shares."""
    null = os.open(os.devnull, os.O_RDONLY)
    _move(null, 0)
    private = []
    for path, target in ((request.stdout, 1), (request.stderr, 2)):
        public, own = _open_fifo(path), _open_fifo(path)
        try:
            fcntl.fcntl(own, _SET_PIPE_SIZE, _PIPE_BYTES)
        except OSError:
            pass  # Another system, or a user's pipe quota: the default size serves too.
        private.append(_move_high(own))
        _move(public, target)
    return Fifos(private[0], private[1])


def _open_fifo(path: str) -> int:
    # Without a reader the opening fails instead of waiting for ever.
    descriptor = os.open(path, os.O_WRONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    os.set_blocking(descriptor, True)
    return descriptor


def _move(descriptor: int, target: int) -> None:
    if descriptor != target:
        os.dup2(descriptor, target, inheritable=True)
        os.close(descriptor)
    else:
        os.set_inheritable(target, True)


def _high_descriptor() -> int:
    """Where the kernel's own descriptors begin: out of the way of code that closes the low ones."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    bound = 1024 if soft == resource.RLIM_INFINITY else min(soft, 1024)
    return max(bound - 24, 3)


def _move_high(descriptor: int) -> int:
    high = fcntl.fcntl(descriptor, fcntl.F_DUPFD_CLOEXEC, _high_descriptor())
    os.close(descriptor)
    return high


def _replace_environment(env: dict[str, str]) -> None:
    os.environ.clear()
    os.environ.update(env)
    # Figures are rendered into the record; there is no window to show them in.
    os.environ.setdefault("MPLBACKEND", "Agg")
    time.tzset()
