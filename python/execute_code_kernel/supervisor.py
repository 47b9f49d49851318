"""The supervisor: forks kernels, signals and reaps them, and ends everything below it with the daemon.

States: starting → serving → stopped. It pre-imports the kernel so that a fork is all a new session costs, and it
never runs session code. In a sandbox it is PID 1; elsewhere it is the subreaper, so every orphan below it becomes
its child either way. Descriptor 3 is the control channel and the lifeline: when it ends, for whatever reason, the
supervisor kills every process below it and exits at once.

One process at a time, no threads: a pipe written by SIGCHLD wakes the loop.
"""

from __future__ import annotations

from .private import builtins as __builtins__

import gc
import os
import select
import signal
import sys
import time
from math import inf

from . import kernel, launch
from .confinement import Confinement
from .dialling import Dialler
from .frames import FrameError, FrameReader, encode
from .layout import fill_holes
from .pause import map_programs
from .processes import (
    ProcessTable,
    become_subreaper,
    is_childless,
    moment,
    parent_of,
    send_signal,
    set_dumpable,
)
from .relay import PORT, Relay

CONTROL = 3
PROTOCOL = 1

_KILL_SECONDS = 5.0
_END_SECONDS = 30.0
_LOOKS = 4
_COLLECTED = 256
_IGNORED = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT, signal.SIGTSTP)


class Supervisor:
    """The state of a supervisor process."""

    def __init__(self, control: int, confinement: Confinement, relay: Relay | None) -> None:
        self._control = control
        self._confinement = confinement
        self._relay = relay
        self._dialler = Dialler() if confinement.filters else None
        self._reader = FrameReader()
        self._running: dict[str, int] = {}
        """Pids of the kernels that live, by name."""
        self._sessions: dict[str, int] = {}
        """Process sessions of all kernels there were, by name: what a dead kernel left behind is found by them."""
        self._paused: set[str] = set()
        """Names of snapshots: no process comes from them."""
        self._resumed: dict[str, float] = {}
        """When those that were snapshots became kernels, as `ProcessTable.started`: no process of theirs is older."""
        self._collected: dict[int, tuple] = {}
        """How processes without a name have ended: wait status and usage by pid, the newest last."""
        self._wake_read, self._wake_write = os.pipe()
        for end in (self._wake_read, self._wake_write):
            os.set_blocking(end, False)

    def run(self) -> None:
        """Serves until the lifeline ends. Does not return."""
        self._listen_for_signals()
        become_subreaper()
        set_dumpable(False)
        fill_holes()
        gc.freeze()
        map_programs()  # What only a snapshot has would count as its own.
        self._serve_network()
        self._report(
            {
                "type": "ready",
                "protocol": PROTOCOL,
                "pid": os.getpid(),
                "python": {
                    "version": ".".join(map(str, sys.version_info[:3])),
                    "executable": sys.executable,
                    "implementation": sys.implementation.name,
                },
            }
        )
        waiting = select.poll()
        waiting.register(self._control, select.POLLIN)
        waiting.register(self._wake_read, select.POLLIN)
        if self._dialler is not None:
            waiting.register(self._dialler.descriptor, select.POLLIN)
        while True:
            due = None if self._relay is None else self._relay.due_in()
            ready = [descriptor for descriptor, _ in waiting.poll(None if due is None else due * 1000)]
            self._reap()
            self._serve_network()
            if self._dialler is not None and self._dialler.descriptor in ready:
                self._dialler.serve()
            if self._control in ready:
                self._serve()

    def _listen_for_signals(self) -> None:
        signal.set_wakeup_fd(self._wake_write, warn_on_full_buffer=False)
        # A handler that does nothing, not SIG_IGN: a kernel must not inherit an ignored signal.
        for number in (*_IGNORED, signal.SIGCHLD):
            signal.signal(number, lambda *_: None)

    def _serve_network(self) -> None:
        """Forks the relay, when there is to be one and it is not there."""
        if self._relay is None or self._relay.due_in() != 0:
            return
        try:
            self._relay.fork(close=self._own)
        except OSError as error:
            self._relay.ended()
            self._fault(None, f"the network relay: {error}")

    @property
    def _own(self) -> tuple[int, ...]:
        """Descriptors that no child may have."""
        dialler = () if self._dialler is None else (self._dialler.descriptor,)
        return (self._control, self._wake_read, self._wake_write, *dialler)

    # ── commands ────────────────────────────────────────────────────────────────────────────────────────────

    def _serve(self) -> None:
        try:
            data = os.read(self._control, 65536)
            frames = self._reader.feed(data)
        except BlockingIOError:
            return
        except (OSError, FrameError) as error:
            self._end(f"the control channel failed: {error}")
        if not data:
            self._end(None)
        for frame in frames:
            name = frame.get("kernel")
            try:
                self._command(frame)
            except (OSError, KeyError, TypeError, ValueError) as error:
                self._fault(name if type(name) is str else None, f"{frame['type']}: {type(error).__name__}: {error}")

    def _command(self, frame: dict) -> None:
        kind = frame["type"]
        if kind == "fork":
            self._fork(frame)
        elif kind == "signal":
            try:
                since = moment(float(frame["since_ms"]))
                self._signal(frame["kernel"], int(frame["signal"]), frame["target"], since)
            finally:
                self._report({"type": "signalled", "kernel": frame["kernel"], "request": frame["request"]})
        elif kind == "adopt":
            self._adopt(frame["kernel"], int(frame["pid"]), frame["paused"])
        elif kind == "resume":
            self._resume(frame["kernel"], moment(float(frame["since_ms"])))
        elif kind == "stop":
            self._kill_all()
            self._reap()
            os._exit(0)
        else:
            raise ValueError("unknown command")

    def _fork(self, frame: dict) -> None:
        name = frame["kernel"]
        if name in self._running:
            raise ValueError(f"kernel {name} exists already")
        request = launch.Launch(frame)
        asked_at = -1
        if self._dialler is not None:
            self._dialler.listener = request.listener
            asked_at = self._dialler.asked_at
        pid = os.fork()
        if pid == 0:
            listening = () if self._relay is None else (self._relay.descriptor,)
            launch.become_kernel(request, self._confinement, (*self._own, *listening), asked_at)
        self._running[name] = pid
        self._sessions[name] = pid
        self._report({"type": "forked", "kernel": name, "pid": pid})

    def _adopt(self, name: str, pid: int, paused: bool) -> None:
        """A child that a kernel has made beside itself is a kernel, too. Its process session is its own."""
        if name in self._sessions:
            raise ValueError(f"kernel {name} exists already")
        if pid in self._running.values() or (self._relay is not None and pid == self._relay.pid):
            raise ValueError(f"process {pid} is no branch")
        self._sessions[name] = pid
        if paused:
            self._paused.add(name)
        if parent_of(pid) == os.getpid():
            self._running[name] = pid
            return
        self._reap()
        self._report_exit(name, *self._collected.pop(pid, (None, None)))

    def _resume(self, name: str, since: float) -> None:
        """A snapshot is a kernel from now on."""
        if name not in self._paused:
            raise ValueError(f"there is no snapshot {name}")
        self._paused.discard(name)
        self._resumed[name] = since

    def _signal(self, name: str, number: int, target: str, since: float) -> None:
        """Sends a signal to those that the frame's `target` names; `since` is when the running execution began."""
        if name not in self._sessions:
            raise ValueError(f"there is no kernel {name}")
        kernel = self._running.get(name)
        if target in ("kernel", "started"):
            # The kernel first: code that waits for a child must not see it end, and be over, before its own signal
            # arrives.
            if kernel is not None:
                send_signal(kernel, number)
            if target == "started":
                self._signal_started(name, number, since)
        elif target == "leftover":
            self._kill_members(lambda table: self._members(name, table, since))
        elif target == "tree" and name in self._paused and kernel is not None and is_childless(kernel):
            # A look at all processes takes longer than the making of a snapshot.
            send_signal(kernel, signal.SIGKILL)
        elif target == "tree":
            self._kill_members(lambda table: self._members(name, table) | self._living(name, table))
        else:
            raise ValueError(f"unknown target {target}")

    def _signal_started(self, name: str, number: int, since: float) -> None:
        """Signals each process once; looks again, for one that was being forked during the look."""
        signalled: set[int] = set()
        for _ in range(_LOOKS):
            new = self._members(name, ProcessTable(), since, self._sessions[name]) - signalled
            if not new:
                return
            for pid in new:
                send_signal(pid, number)
            signalled |= new

    def _living(self, name: str, table: ProcessTable) -> set[int]:
        """The kernel's own process, when it lives."""
        return {self._running.get(name)} & table.parent.keys()

    def _kill_members(self, find) -> None:
        if not self._kill(find, _KILL_SECONDS):
            raise OSError("some of its processes could not be ended")

    # ── processes ───────────────────────────────────────────────────────────────────────────────────────────

    def _members(self, name: str, table: ProcessTable, since: float = 0.0, session: int | None = None) -> set[int]:
        """What came from a kernel, itself left out: the processes below it, and its orphans; those that began `since`,
        and those of one process session only, if one is given.

        An orphan whose process session is a kernel's came from that kernel. One that made its own session belongs
        to the only kernel that there was when it began; when there were others its origin is unknown and it is
        spared.
        """
        kernel = self._running.get(name)
        members = table.tree(kernel) if kernel is not None else set()
        others = [pid for other, pid in self._running.items() if other != name]
        own_session = self._sessions[name]
        foreign = {self._sessions[other] for other in self._running if other != name}
        active = {
            other: pid
            for other, pid in self._running.items()
            if other != name and other not in self._paused and pid in table.started
        }
        first = min([self._resumed.get(other, table.started[pid]) for other, pid in active.items()], default=inf)
        for pid in table.children(os.getpid()):
            if pid in others or pid in members or (self._relay is not None and pid == self._relay.pid):
                continue
            its_session = table.session[pid]
            if its_session == own_session or (table.started[pid] < first and its_session not in foreign):
                members |= table.tree(pid)
        return {
            pid
            for pid in members - {kernel}
            if table.started[pid] >= since and (session is None or table.session[pid] == session)
        }

    def _kill(self, find, seconds: float) -> bool:
        """Kills what `find` names in a table of processes, until it names nobody; whether that came in time.

        Everybody is stopped first, until a look finds nobody new: who is stopped cannot fork a successor.
        """
        deadline = time.monotonic() + seconds
        stopped: set[int] = set()
        while time.monotonic() < deadline:
            found = find(ProcessTable())
            if not found:
                return True
            if found <= stopped:
                for pid in found:
                    send_signal(pid, signal.SIGKILL)
                # The end of any of them wakes this.
                select.select([self._wake_read], [], [], 0.005)
                self._reap()
                continue
            for pid in found - stopped:
                send_signal(pid, signal.SIGSTOP)
            stopped |= found
        for pid in stopped:
            send_signal(pid, signal.SIGKILL)
        return False

    def _kill_all(self) -> None:
        """Kills everything below this process."""
        here = os.getpid()
        if here == 1:
            return  # The end of PID 1 is the end of its namespace.
        for pid in self._running.values():
            send_signal(pid, signal.SIGKILL)  # Without /proc this is all that can be found.
        self._kill(lambda table: table.tree(here) - {here}, _END_SECONDS)

    def _reap(self) -> None:
        """Collects every child that has ended, and reports those that were kernels."""
        try:
            os.read(self._wake_read, 4096)
        except BlockingIOError:
            pass
        while True:
            try:
                pid, status, usage = os.wait4(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            if self._relay is not None and pid == self._relay.pid:
                self._relay.ended()
                self._fault(None, f"the network relay ended (wait status {status})")
                continue
            names = [name for name, kernel_pid in self._running.items() if kernel_pid == pid]
            for name in names:
                del self._running[name]
                self._report_exit(name, status, usage)
            if not names:
                self._remember(pid, status, usage)

    def _remember(self, pid: int, status, usage) -> None:
        """A branch may end before it is adopted."""
        self._collected.pop(pid, None)
        self._collected[pid] = (status, usage)
        if len(self._collected) > _COLLECTED:
            del self._collected[next(iter(self._collected))]

    # ── reports ─────────────────────────────────────────────────────────────────────────────────────────────

    def _report_exit(self, name: str, status, usage) -> None:
        """`status` and `usage` are None where another has collected them."""
        signalled = status is not None and os.WIFSIGNALED(status)
        unit = 1 if sys.platform == "darwin" else 1024
        self._report(
            {
                "type": "exited",
                "kernel": name,
                "code": None if status is None or signalled else os.WEXITSTATUS(status),
                "signal": os.WTERMSIG(status) if signalled else None,
                "peak_memory_bytes": 0 if usage is None else usage.ru_maxrss * unit,
                "cpu_ms": 0.0 if usage is None else round((usage.ru_utime + usage.ru_stime) * 1000, 3),
            }
        )

    def _fault(self, name: str | None, message: str) -> None:
        self._report({"type": "fault", "kernel": name, "message": message})

    def _report(self, frame: dict) -> None:
        data = memoryview(encode(frame))
        while data:
            try:
                data = data[os.write(self._control, data) :]
            except BlockingIOError:
                select.select([], [self._control], [])
            except OSError:
                return  # The daemon is gone; reading the channel will say so.

    def _end(self, reason: str | None) -> None:
        """The lifeline has ended: nothing below survives."""
        self._kill_all()
        if reason is not None:
            print(reason, file=sys.stderr, flush=True)
        os._exit(0 if reason is None else 1)


def main() -> None:
    """Runs a supervisor on descriptor 3."""
    try:
        os.set_inheritable(CONTROL, False)
    except OSError:
        sys.exit("The supervisor's control channel is missing: descriptor 3 must be one end of a socket pair.")
    _close_others()
    _go_first()
    kernel.preload()
    folder, proxy, port = (*sys.argv[2:5], None, None, None)[:3]
    try:
        relay = None if proxy is None else Relay(proxy, PORT if port is None else int(port))
    except OSError as error:
        sys.exit(f"The network relay cannot listen on port {port or PORT}: {error}")
    Supervisor(CONTROL, Confinement(folder), relay).run()


def _go_first() -> None:
    """When the machine has no memory left, this and all below it go before other processes."""
    try:
        with open("/proc/self/oom_score_adj", "w") as score:
            score.write("1000")
    except OSError:
        pass  # Without a /proc that can be written the system chooses by size alone.


def _close_others() -> None:
    """Closes what else the parent left open: it is no kernel's business."""
    try:
        opened = [int(name) for name in os.listdir("/proc/self/fd")]
    except OSError:
        opened = list(range(256))
    for descriptor in opened:
        if descriptor > CONTROL:
            try:
                os.close(descriptor)
            except OSError:
                pass  # The listing's own descriptor.
