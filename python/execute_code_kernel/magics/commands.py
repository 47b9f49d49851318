"""Shell commands: how they start, where their output goes, and how they end."""

from __future__ import annotations

from ..private import builtins as __builtins__

import os
import re
import select
import sys
from _signal import SIG_BLOCK, SIG_SETMASK, SIGINT, SIGKILL, SIGPIPE, SIGXFSZ, pthread_sigmask
from time import monotonic as _monotonic
from time import sleep as _sleep

from ..processes import ProcessTable, send_signal
from .pip import install
from .replacements import UsageError

SHELL = "/bin/bash" if os.path.exists("/bin/bash") else "/bin/sh"
_PIP = re.compile(r"(?:python3?\s+-m\s+)?pip3?(?![\w.-])(.*)", re.DOTALL)
_SIGNALS = (SIGINT, SIGPIPE, SIGXFSZ)
"""Those that the session's process handles or ignores."""
_KILL_SECONDS = 0.5
_LOOK_MILLISECONDS = 50
_READ_BYTES = 1024 * 1024
"""More than a pipe holds."""


class SList(list):
    """The lines that a command wrote: a list, and as text `.n` (by lines), `.s` (by spaces), `.p` (existing paths)."""

    n = property(lambda self: "\n".join(self))
    s = property(lambda self: " ".join(self))

    @property
    def p(self) -> list:
        from pathlib import Path

        return [Path(line) for line in self if os.path.exists(line)]

    def __reduce__(self):
        # To other processes, which do not have this class, it is a list.
        return (list, (self[:],))


def lines(command: str, scope) -> SList:
    """The lines that a command writes, its stderr among them."""
    written = bytearray()
    take = written.extend
    shell(command.strip(), scope, take, take)
    return SList(written.decode("utf-8", "replace").splitlines())


def shell(command: str, scope, out=None, err=None) -> None:
    """Runs a command in a shell. `pip` is that of the session's interpreter, but packages are installed by the
    platform; what is installed can be imported."""
    pip = _PIP.match(command)
    if pip is not None:
        from shlex import quote

        if install(pip.group(1).strip()):
            return

        # Nobody answers pip's question.
        arguments = re.sub(r"(?s)^\s*uninstall\b(?!.*\s(?:-y|--yes)\b)", " uninstall --yes", pip.group(1))
        command = f"{quote(sys.executable)} -m pip{arguments}"
    status = run([SHELL, "-c", command], scope, out=out, err=err)
    if pip is not None and status != 0:
        _require_pip()
    if "install" in command:
        _find_installed()


def _require_pip() -> None:
    """Raises UsageError when the session's interpreter has no pip."""
    from importlib.util import find_spec

    python = sys.executable
    if find_spec("pip") is None:
        ways = f"`!{python} -m ensurepip --upgrade`, or `!uv pip install --python {python} pip`,"
        raise UsageError(f"{python} has no pip; {ways} installs it.")


def _find_installed() -> None:
    """Lets imports see what has been installed, also into the user's own folder of packages."""
    import importlib
    import site

    importlib.invalidate_caches()
    folder = site.getusersitepackages()
    if folder not in sys.path and os.path.isdir(folder):
        site.addsitedir(folder)


# ── one program ─────────────────────────────────────────────────────────────────────────────────────────────────


def run(command: list, scope, stdin=None, out=None, err=None) -> int:
    """Runs a program to its end; its exit code, negative when a signal ended it, which is also the session's
    `_exit_code`. `out` and `err` take its output as bytes, and are called with none at the end; when they are the same,
    the program writes to one pipe. Without them its output is the session's. `stdin` is a descriptor.

    An exception meanwhile, an interrupt above all, ends the program and everything below it.
    """
    if out is err is None and sys.stdout is sys.stderr:
        out = err = _redirected("stdout")
    out, err = out or _redirected("stdout"), err or _redirected("stderr")
    _flush()
    actions = [] if stdin is None else [(os.POSIX_SPAWN_DUP2, stdin, 0)]
    sinks: dict = {}
    writing: list = []
    pid = None
    try:
        for target, sink in ((1, out), (2, err)):
            if sink is None:
                continue
            if sink not in sinks.values():
                reading, end = os.pipe()
                sinks[reading] = sink
                writing.append(end)
            actions.append((os.POSIX_SPAWN_DUP2, writing[-1], target))
        # Between the start of the process and the moment its id is known, an interrupt waits.
        mask = pthread_sigmask(SIG_BLOCK, (SIGINT,))
        try:
            pid = _start(command, file_actions=actions, setpgroup=0, setsigmask=mask, setsigdef=_SIGNALS)
        finally:
            pthread_sigmask(SIG_SETMASK, mask)
        while writing:
            os.close(writing.pop())
        _read(sinks, pid)
        status = _reap(pid)
    except BaseException:
        if pid is not None:
            _end(pid)
        raise
    finally:
        for descriptor in (*writing, *sinks):
            os.close(descriptor)
    scope.session["_exit_code"] = status
    return status


def _start(command: list, **options) -> int:
    start = os.posix_spawn if "/" in command[0] else os.posix_spawnp
    # The mapping behind os.environ needs none of the builtins that session code may have deleted.
    return start(command[0], command, getattr(os.environ, "_data", os.environ), **options)


def _read(sinks: dict, pid: int) -> None:
    """Reads until every pipe has ended. When the program has, what it left behind may hold them open: then it reads
    what they hold."""
    waiting = select.poll()
    for descriptor in sinks:
        waiting.register(descriptor, select.POLLIN)
    left = set(sinks)
    has_ended = False
    while left and not has_ended:
        has_ended = _has_ended(pid)
        for descriptor, _ in waiting.poll(0 if has_ended else _LOOK_MILLISECONDS):
            data = os.read(descriptor, _READ_BYTES)
            sinks[descriptor](data)
            if not data:
                waiting.unregister(descriptor)
                left.discard(descriptor)
    for descriptor in left:
        sinks[descriptor](b"")


def _has_ended(pid: int) -> bool:
    try:
        return os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None
    except OSError:
        return True


def _reap(pid: int) -> int:
    try:
        return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    except ChildProcessError:
        return 0  # Session code has collected it, or ignores its children: nobody knows.


def _end(pid: int) -> None:
    """Ends a program and everything below it: SIGINT, then SIGKILL for what is left."""
    below = ProcessTable().tree(pid) | {pid}
    try:
        # The program first: a shell whose command ends before the signal has come to it goes on with the next.
        for member in sorted(below, key=lambda member: (member != pid, member)):
            send_signal(member, SIGINT)
        deadline = _monotonic() + _KILL_SECONDS
        while _monotonic() < deadline and not below.isdisjoint(ProcessTable().parent):
            _sleep(0.01)
    finally:
        table = ProcessTable()
        # Whatever the table shows, the program's own id is nobody else's: it is not reaped yet.
        for member in (below & table.parent.keys()) | table.tree(pid) | {pid}:
            send_signal(member, SIGKILL)
        _reap(pid)


def _redirected(name: str):
    """What takes a program's output, as long as session code has put something else in the stream's place."""
    stream = getattr(sys, name, None)
    if stream is None or stream is getattr(sys, f"__{name}__", None):
        return None
    from codecs import getincrementaldecoder

    decode = getincrementaldecoder("utf-8")("replace").decode
    return lambda data: stream.write(decode(data, final=not data))


def _flush() -> None:
    for stream in (sys.stdout, sys.stderr, sys.__stdout__, sys.__stderr__):
        try:
            stream.flush()
        except Exception:
            pass
