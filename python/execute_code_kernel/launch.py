"""From a fresh fork of the supervisor to a running kernel."""

from __future__ import annotations

from .private import builtins as __builtins__

import os
import resource
import signal
import sys
import time

from . import modules, packages, rlimits
from .channel import Channel
from .confinement import Confinement
from .fifos import Fifos, move, move_above, open_names
from .kernel import Kernel
from .metrics import Meter
from .processes import die_with_parent, set_dumpable

_FAILED = 70


class Launch:
    """A `fork` command, checked."""

    def __init__(self, frame: dict) -> None:
        self.nonce = _text(frame, "nonce")
        self.listener = _text(frame, "listener")
        self.stdout = _text(frame, "stdout")
        self.stderr = _text(frame, "stderr")
        self.interrupts = _text(frame, "interrupts")
        self.cwd = _text(frame, "cwd")
        self.limits = frame["limits"]
        self.env = {str(name): str(value) for name, value in frame["env"].items()}


def _text(frame: dict, name: str) -> str:
    value = frame[name]
    if type(value) is not str:
        raise TypeError(f"{name} must be a string")
    return value


def become_kernel(request: Launch, confinement: Confinement, close: tuple[int, ...], asked_at: int) -> None:
    """Makes this process, just forked, a kernel and runs it. Does not return. `asked_at`: see `Channel`."""
    complaints = 2
    try:
        above = _high_descriptor()
        complaints = move_above(os.dup(2), above)
        os.setsid()
        _reset_signals()
        for descriptor in close:
            os.close(descriptor)
        set_dumpable(True)
        die_with_parent()
        move(os.open(os.devnull, os.O_RDONLY), 0)
        fifos = Fifos(request.stdout, request.stderr, above)
        names = open_names(request.interrupts, above)
        _replace_environment(request.env)
        if request.limits is not None:
            rlimits.apply(request.limits)
        os.chdir(request.cwd)
        # As in an interactive interpreter: modules in the current folder can be imported.
        sys.path.insert(0, "")
        modules.install(request.cwd)
        if "PYTHONPATH" in request.env:
            packages.find_in(request.env["PYTHONPATH"])
        sys.argv = [""]
        if asked_at != -1:
            asked_at = move_above(asked_at, above)
        channel = Channel(request.listener, above, asked_at)
        kernel = Kernel(channel, fifos, names, Meter(keep_above=above), request.nonce, above)
        confinement.apply_filter()
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


def _high_descriptor() -> int:
    """Where the kernel's own descriptors begin: out of the way of code that closes the low ones."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    bound = 1024 if soft == resource.RLIM_INFINITY else min(soft, 1024)
    return max(bound - 24, 3)


def _replace_environment(env: dict[str, str]) -> None:
    os.environ.clear()
    os.environ.update(env)
    # Figures are rendered into the record; there is no window to show them in.
    os.environ.setdefault("MPLBACKEND", "Agg")
    time.tzset()
