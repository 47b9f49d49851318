"""Branches of a kernel: forks of it that are kernels too, with connections and output of their own.

    snapshot   stays as it is: it forks others, until it is resumed itself, as a successor or a session
    successor  goes on in place of the session's kernel
    session    goes on as another session: other random numbers, other temporary names
    capture    writes the variables down and ends

Whatever the kernel shares with its branch is let go of there first: the channel, the FIFOs, the descriptors of the
interrupts and the meter. Threads do not follow, and what else a copy lacks is said in the answer.
"""

from __future__ import annotations

from .private import builtins as __builtins__

from _signal import ITIMER_PROF, ITIMER_REAL, ITIMER_VIRTUAL, getitimer
from _thread import _count as _thread_count
from os import close, environ, getpid, mkdir, setsid
from types import ModuleType

from . import unsafe
from .fifos import Fifos, open_names
from .forking import fork_beside
from .processes import die_with_parent
from .private import MODULES
from .randomness import States


def fork(kernel, frame: dict, answer: dict):
    """In the parent: fills in the `answer`, and gives None. In a branch: gives its order. Raises OSError when the
    first fork fails; the branches that came before a later one are told in the answer, together with the error."""
    answer["unsafe"] = unsafe.find(kernel._namespace)
    if answer["unsafe"] and frame["on_unsafe"] == "refuse":
        listed = "; ".join([_in_words(one) for one in answer["unsafe"]])
        answer["error"] = {"code": "unsafe_fork", "message": f"A copy of the session would not have: {listed}."}
        return None
    late = [descriptor for pair in kernel._background.routes.values() for descriptor in pair]
    states = States(kernel._namespace, apart=any([order["copy"] is not None for order in frame["branches"]]))
    answer["still"] = not (answer["unsafe"] or kernel.has_background() or _thread_count() or _has_timer())
    kernel._streams.flush()
    for order in frame["branches"]:
        try:
            pid = fork_beside()
        except OSError as error:
            if not answer["pids"]:
                raise
            answer["error"] = {"code": "fork_failed", "message": f"The kernel could not be forked: {error}."}
            break
        if pid == 0:
            kernel._background.leave(late)
            kernel._runner.begin_branch()
            if order["copy"] is None:
                states.put_back()
            else:
                states.part(order["copy"])
            return order
        answer["pids"].append(pid)
    kernel._background.overlook()
    return None


def _has_timer() -> bool:
    """Whether a handler of session code will be called some time."""
    return any([getitimer(which) != (0.0, 0.0) for which in (ITIMER_REAL, ITIMER_VIRTUAL, ITIMER_PROF)])


def _in_words(one: dict) -> str:
    return one["what"] if one["variable"] is None else f"{one['what']} (`{one['variable']}`)"


def begin(kernel, order: dict, listener: str) -> None:
    """In a branch: makes it a kernel of its own. Raises OSError."""
    setsid()
    die_with_parent()
    fifos: Fifos = kernel._fifos
    role = order["role"]
    names = -1
    fifos.leave()
    if role in ("successor", "session"):
        names = _open_output(kernel, order)
    else:
        fifos.silence()
    kernel._interrupts.begin_branch(names)
    kernel._meter.reopen(kernel._keep_above)
    if role == "session":
        _own_temporary_folder(order["kernel"])
    kernel._channel.redial(listener)
    kernel._pid = getpid()
    kernel._paused = role == "snapshot"
    kernel._nonce = order["nonce"]


def resume(kernel, order: dict) -> None:
    """In a snapshot: it goes on as a kernel, with output of its own. Raises OSError; then it is a snapshot still."""
    kernel._interrupts.begin_branch(_open_output(kernel, order))
    if order["role"] == "session":
        States(kernel._namespace, apart=True).part(order["copy"])
        _own_temporary_folder(order["kernel"])
    kernel._paused = False


def _open_output(kernel, order: dict) -> int:
    """FIFOs of its own; gives the descriptor of the one that names interrupts. Raises OSError, and changes nothing."""
    names = open_names(order["interrupts"], kernel._keep_above)
    try:
        kernel._fifos.replace(order["stdout"], order["stderr"])
    except OSError:
        close(names)
        raise
    return names


def _own_temporary_folder(name: str) -> None:
    """Temporary files of two branches do not meet, unless session code has left no place for them."""
    try:
        outer = environ.get("TMPDIR", "/tmp")
        folder = f"{outer}/branch-{name}"
        try:
            mkdir(folder, 0o700)
        except FileExistsError:
            pass
        environ["TMPDIR"] = folder
        tempfile = MODULES.get("tempfile")
        if type(tempfile) is ModuleType and vars(tempfile).get("tempdir") == outer:
            tempfile.tempdir = folder
    except Exception:
        pass
