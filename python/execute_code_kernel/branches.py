"""Branches of a kernel: forks of it that are kernels too, with connections and output of their own.

    snapshot   stays as it is: it forks others, until it is resumed itself, as a successor or a session
    successor  goes on in place of the session's kernel
    session    goes on as another session: other random numbers, other temporary names
    capture    writes the variables down and ends

Whatever the kernel shares with its branch is let go of there first: the channel, the FIFOs, the descriptors of the
interrupts and the meter, the positions of open files. Threads do not follow, and what else a copy lacks is said in the
answer.
"""

from __future__ import annotations

from .private import builtins as __builtins__

from _signal import ITIMER_PROF, ITIMER_REAL, ITIMER_VIRTUAL, getitimer
from _thread import _count as _thread_count
from atexit import _clear as forget_exit_functions  # Those of the session that was forked: they are for its end.
from os import close, environ, getpid, mkdir, setsid, write
from types import ModuleType

from . import unsafe
from .fifos import Fifos, open_names
from .forking import fork_beside
from .frames import encode
from .pause import Pause
from .processes import die_with_parent
from .private import MODULES
from .randomness import States


class Branch:
    """A process that has been forked, as it finds itself: its order, and its connection to the daemon when it has
    one."""

    def __init__(self, order: dict, connection: int) -> None:
        self.order = order
        self.connection = connection


def fork(kernel, frame: dict, answer: dict):
    """In the parent: fills in the `answer`, and gives None. In a branch: gives that, in a snapshot when its pause is
    over. Raises OSError when the first fork fails; the branches that came before a later one are told in the answer,
    together with the error."""
    opened = unsafe.open_descriptors()
    of_session = [one for one in opened if 2 < one[0] < kernel._keep_above]
    # What there is no need for is not called: its pages are the snapshot's and the kernel's then (docs/decisions/0024).
    files, links = _look_at(of_session) if of_session else ([], None)
    answer["unsafe"] = unsafe.find(kernel._namespace, opened, files)
    if answer["unsafe"] and frame["on_unsafe"] == "refuse":
        listed = "; ".join([_in_words(one) for one in answer["unsafe"]])
        answer["error"] = {"code": "unsafe_fork", "message": f"A copy of the session would not have: {listed}."}
        return None
    late = [descriptor for pair in kernel._background.routes.values() for descriptor in pair]
    states = States(kernel._namespace, apart=any([order["copy"] is not None for order in frame["branches"]]))
    moves = kernel.has_background() or _thread_count() or _has_timer()
    answer["still"] = not (answer["unsafe"] or moves or (links is not None and links.lead_out))
    kernel._streams.flush()
    for order in frame["branches"]:
        try:
            if order["role"] == "snapshot":
                pid, connection = _pause(kernel, order["nonce"], frame["listener"], links, late)
            else:
                pid, connection = _fork(links, order["role"] == "capture"), -1
        except OSError as error:
            if not answer["pids"]:
                raise
            answer["error"] = {"code": "fork_failed", "message": f"The kernel could not be forked: {error}."}
            break
        if pid == 0:
            if files:
                _part(files)
            kernel._background.leave(late)
            kernel._runner.begin_branch()
            if order["copy"] is None:
                states.put_back()
            else:
                states.part(order["copy"])
            return Branch(order, connection)
        answer["pids"].append(pid)
    kernel._background.overlook()
    return None


def _look_at(descriptors: list) -> tuple:
    """Session code's open files, and its pipes and sockets."""
    from .descriptions import look
    from .links import Links

    return look(descriptors), Links(descriptors)


def _part(files: list) -> None:
    from .descriptions import part

    part(files)


def _fork(links, captures: bool) -> int:
    """As `fork_beside`."""
    if links is None:
        return fork_beside()
    exchange = links.for_copy(captures)
    pid = -1
    try:
        pid = fork_beside(exchange.make)
    finally:
        if pid != 0:
            exchange.close()
    return pid


def _pause(kernel, nonce: str, listener: str, links, late: list) -> tuple[int, int]:
    """Forks a snapshot, and says to the daemon who it is. Gives the number of its process, or 0 in it when its pause is
    over; and its connection. Raises OSError."""
    held = [kernel._channel.descriptor, *kernel._fifos.descriptors, *kernel._interrupts.descriptors, *late]
    pause = Pause(held)
    pid = -1
    exchange = None
    try:
        if links is not None:
            exchange = pause.exchange = links.for_copy(True)
        pause.listen_to(kernel._channel.dial(listener))
        pid = fork_beside(pause)
        if pid != 0:
            _tell(pause.connection, kernel.hello(nonce, pid))
    finally:
        if pid != 0:
            pause.close()
            if exchange is not None:
                exchange.close()
    return pid, pause.connection


def _tell(connection: int, frame: dict) -> None:
    try:
        write(connection, encode(frame))
    except OSError:
        pass  # The daemon has closed it, which ends the snapshot.


def _has_timer() -> bool:
    """Whether a handler of session code will be called some time."""
    return any([getitimer(which) != (0.0, 0.0) for which in (ITIMER_REAL, ITIMER_VIRTUAL, ITIMER_PROF)])


def _in_words(one: dict) -> str:
    return one["what"] if one["variable"] is None else f"{one['what']} (`{one['variable']}`)"


def begin(kernel, branch: Branch, listener: str) -> None:
    """In a branch: makes it a kernel of its own. Raises OSError."""
    order = branch.order
    role = order["role"]
    if role != "snapshot":
        setsid()
        die_with_parent()
    fifos: Fifos = kernel._fifos
    names = -1
    fifos.leave()
    if role in ("successor", "session"):
        names = _open_output(kernel, order)
        kernel._meter.reopen(kernel._keep_above)
    elif role == "capture":
        fifos.silence()
    kernel._interrupts.begin_branch(names)
    if role == "session":
        _own_temporary_folder(order["kernel"])
        forget_exit_functions()
    kernel._channel.move_to(kernel._channel.dial(listener) if branch.connection == -1 else branch.connection)
    kernel._pid = getpid()
    kernel._paused = role == "snapshot"
    if branch.connection == -1:
        kernel._channel.send(kernel.hello(order["nonce"], kernel._pid))


def resume(kernel, order: dict) -> None:
    """In a snapshot: it goes on as a kernel, with output of its own. Raises OSError; then it is a snapshot still."""
    kernel._interrupts.begin_branch(_open_output(kernel, order))
    kernel._paused = False


def settle(kernel, order: dict) -> None:
    """In a snapshot that goes on: what nobody has to wait for, before it is asked anything else."""
    kernel._meter.reopen(kernel._keep_above)
    if order["role"] == "session":
        States(kernel._namespace, apart=True).part(order["copy"])
        _own_temporary_folder(order["kernel"])
        forget_exit_functions()


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
