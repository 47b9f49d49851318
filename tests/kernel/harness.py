"""Plays the daemon for a real supervisor and real kernels: control channel, kernel listener, output FIFOs.

    with Box() as box:
        kernel = box.fork()
        run = kernel.run("1 + 1")
        run.done["result"]["text"]

Everything waits for events with a deadline; nothing sleeps.
"""

from __future__ import annotations

import os
import secrets
import select
import shutil
import signal
import socket
import sys
import tempfile
import textwrap
import time
import unittest
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = ROOT / "python" / "execute_code_kernel"
sys.path.insert(0, str(PACKAGE.parent))
sys.path.insert(0, str(ROOT / "tests" / "protocol"))

from execute_code_kernel.frames import FrameReader, encode  # noqa: E402
from schema import check  # noqa: E402

DEADLINE = 15.0
AGAIN_SECONDS = (0.030, 0.200, 0.800)
"""After these an interrupt that has not ended its execution is sent again, as by the daemon."""
_PYCACHE = Path(tempfile.gettempdir()) / f"execute-code-tests-{os.getuid()}" / "pycache"
_ids = iter(range(1, 10**9))


def execution_id() -> str:
    return f"exec_{next(_ids):026d}"


class Deadline(AssertionError):
    """What was waited for did not happen."""


def wait_until(condition, what: str, seconds: float = DEADLINE):
    """Polls a fact that nothing announces (another process's state)."""
    end = time.monotonic() + seconds
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > end:
            raise Deadline(what)
        select.select([], [], [], 0.005)


def alive(pid: int) -> bool:
    """Whether a process exists and is no zombie."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in ("Z", "X")
    except OSError:
        return False


class Fifo:
    """A kernel's output stream, by the execution that was running when it was read."""

    def __init__(self, path: Path) -> None:
        os.mkfifo(path, 0o600)
        self.fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
        self.path = path
        self.running: str | None = None
        """The execution that output belongs to; without one it is late."""
        self.ended = False
        self._pieces: dict = {}

    def read(self) -> None:
        while True:
            try:
                data = os.read(self.fd, 1 << 20)
            except BlockingIOError:
                return
            if not data:
                # Before the first writer comes it looks the same.
                self.ended = bool(self._pieces)
                return
            self._pieces.setdefault(self.running, bytearray()).extend(data)

    def of(self, execution: str | None) -> bytes:
        return bytes(self._pieces.get(execution, b""))

    @property
    def late(self) -> bytes:
        return self.of(None)

    @property
    def everything(self) -> bytes:
        return b"".join(self._pieces.values())


class Run:
    """One execution, running or finished."""

    def __init__(self, kernel: Kernel, execution: str) -> None:
        self.kernel = kernel
        self.id = execution
        self.done: dict | None = None
        self.began = time.monotonic()
        self.interrupts = 0

    @property
    def frames(self) -> list:
        return [frame for frame in self.kernel.frames if frame.get("id") == self.id]

    def of(self, kind: str) -> list:
        return [frame for frame in self.frames if frame["type"] == kind]

    @property
    def stdout_bytes(self) -> bytes:
        return self.kernel.stdout.of(self.id)

    @property
    def stderr_bytes(self) -> bytes:
        return self.kernel.stderr.of(self.id)

    @property
    def stdout(self) -> str:
        return self.stdout_bytes.decode()

    @property
    def stderr(self) -> str:
        return self.stderr_bytes.decode()

    @property
    def status(self) -> str:
        return self.done["status"]

    @property
    def text(self):
        return self.done["result"] and self.done["result"]["text"]

    @property
    def error(self) -> dict:
        return self.done["error"]

    def names(self, kind: str) -> list:
        names = self.done["variables"][kind]
        return sorted(names if kind == "deleted" else [entry["name"] for entry in names])

    def wait(self, seconds: float = DEADLINE, output: bool = True) -> Run:
        """Waits for the end. Without `output` nobody reads what the code writes before it is over."""
        self.kernel.box.pump_until(lambda: self.of("done"), f"the end of {self.id}", seconds, output)
        self.done = self.of("done")[0]
        return self

    def wait_output(self, text: str, seconds: float = DEADLINE) -> Run:
        self.kernel.box.pump_until(lambda: text.encode() in self.stdout_bytes, f"the output {text!r}", seconds)
        return self


class Kernel:
    """The daemon's side of one kernel."""

    def __init__(self, box: Box, name: str, cwd: str, env: dict) -> None:
        self.box = box
        self.name = name
        self.nonce = secrets.token_hex(16)
        self.stdout = Fifo(box.folder / f"{name}.out")
        self.stderr = Fifo(box.folder / f"{name}.err")
        self.left: list = []
        """Earlier pairs of streams, which hold what executions left behind write."""
        self._names = box.folder / f"{name}.int"
        os.mkfifo(self._names, 0o600)
        self.frames: list = []
        self.socket: socket.socket | None = None
        self.reader = FrameReader()
        self.running: Run | None = None
        self._again: list = []
        """When the last interrupt is sent again, with its execution and its number."""
        self.pid = 0
        self.exited: dict | None = None
        self.role = "session"
        self.branched: dict | None = None
        """The answer to the last request to fork itself."""
        self.resumed: dict | None = None
        self._branching: list = []
        self._copies = 0
        self.request = {
            "type": "fork",
            "kernel": name,
            "nonce": self.nonce,
            "listener": str(box.listener_path),
            "stdout": str(self.stdout.path),
            "stderr": str(self.stderr.path),
            "interrupts": str(self._names),
            "cwd": cwd,
            "env": env,
            "limits": None,
        }

    def send(self, frame: dict) -> None:
        self.socket.sendall(encode(frame))

    def start(self, code: str, env: dict | None = None, fresh_streams: bool = False) -> Run:
        assert self.stdout.running is None, "one execution at a time"
        run = Run(self, execution_id())
        streams = self._fresh_streams() if fresh_streams else None
        self.stdout.running = self.stderr.running = run.id
        self.running = run
        self.send({"type": "execute", "id": run.id, "code": code, "env": env or {}, "streams": streams})
        return run

    def _fresh_streams(self) -> dict:
        self.left.append((self.stdout, self.stderr))
        number = len(self.left)
        self.stdout = Fifo(self.box.folder / f"{self.name}.{number}.out")
        self.stderr = Fifo(self.box.folder / f"{self.name}.{number}.err")
        return {"stdout": str(self.stdout.path), "stderr": str(self.stderr.path)}

    @property
    def fifos(self) -> list:
        return [fifo for pair in [*self.left, (self.stdout, self.stderr)] for fifo in pair]

    def reply(self, request: str, value, error: str | None = None) -> None:
        self.send({"type": "reply", "request": request, "value": value, "error": error})

    def run(self, code: str, seconds: float = DEADLINE, **options) -> Run:
        return self.start(code, **options).wait(seconds)

    def value(self, expression: str):
        """The result text of an expression; fails when it raises."""
        run = self.run(expression)
        assert run.status == "ok", run.error
        return run.text

    def inspect(self, name: str | None = None, depth: int = 1) -> dict:
        request = f"inspect-{next(_ids)}"
        self.send({"type": "inspect", "request": request, "name": name, "depth": depth})
        found = lambda: [f for f in self.frames if f["type"] == "inspected" and f["request"] == request]  # noqa: E731
        self.box.pump_until(found, "the inspection")
        return found()[0]

    def complete(self, code: str, cursor: int | None = None) -> dict:
        request = f"complete-{next(_ids)}"
        self.send({"type": "complete", "request": request, "code": code, "cursor": cursor})
        found = lambda: [f for f in self.frames if f["type"] == "completed" and f["request"] == request]  # noqa: E731
        self.box.pump_until(found, "the completion")
        return found()[0]

    def start_branches(self, *roles: str, on_unsafe: str = "warn") -> list:
        """Asks this kernel, or snapshot, to fork itself into kernels of these roles."""
        box = self.box
        self.branched = None
        made = []
        for role in roles:
            kernel = Kernel(box, f"k{len(box.kernels) + 1}", self.request["cwd"], self.request["env"])
            kernel.role = role
            box.kernels[kernel.name] = kernel
            made.append(kernel)
        self._branching = made
        orders = [
            {
                "kernel": kernel.name,
                "nonce": kernel.nonce,
                "role": kernel.role,
                "copy": self._copy(kernel.role),
                "stdout": None if kernel.role == "snapshot" else str(kernel.stdout.path),
                "stderr": None if kernel.role == "snapshot" else str(kernel.stderr.path),
                "interrupts": None if kernel.role == "snapshot" else str(kernel._names),
                "skip": {},
            }
            for kernel in made
        ]
        request = f"branch-{next(_ids)}"
        listener = str(box.listener_path)
        self.send({"type": "branch", "request": request, "listener": listener, "on_unsafe": on_unsafe, "branches": orders})
        return made

    def _copy(self, role: str):
        self._copies += 1
        return f"{self._copies}" if role == "session" else None

    def resume(self, copy: str | None = None) -> None:
        """Asks this snapshot to go on as a kernel, of another session when there is a name for the copy; `resumed` is
        its answer."""
        self.resumed = None
        role = "successor" if copy is None else "session"
        since = time.monotonic()
        request = {
            "type": "resume",
            "request": f"resume-{next(_ids)}",
            "kernel": self.name,
            "role": role,
            "copy": copy,
            "stdout": str(self.stdout.path),
            "stderr": str(self.stderr.path),
            "interrupts": str(self._names),
        }
        self.send(request)
        self.box.pump_until(lambda: self.resumed is not None, "the answer of the snapshot")
        if self.resumed["error"] is None:
            self.role = role
            self.box.send({"type": "resume", "kernel": self.name, "since_ms": since * 1000})

    def branches(self, *roles: str, on_unsafe: str = "warn") -> list:
        """Those of the branches that were made, when they have dialled in; `branched` is the kernel's answer."""
        made = self.start_branches(*roles, on_unsafe=on_unsafe)
        self.box.pump_until(lambda: self.branched is not None, "the answer of the kernel")
        made = made[: len(self.branched["pids"])]
        for kernel in made:
            self.box.pump_until(lambda: kernel.socket is not None or kernel.exited is not None, "the branch's hello")  # noqa: B023
            # A capture may be over before it has been listened to.
            assert kernel.socket is not None or kernel.role == "capture", kernel.exited
        return made

    def branch(self, role: str = "session") -> Kernel:
        (kernel,) = self.branches(role)
        return kernel

    def take(self, frame: dict) -> None:
        wrong = check("kernel", "to_daemon", frame)
        assert wrong is None, wrong
        self.frames.append(frame)
        if frame["type"] == "branched":
            self.branched = frame
            for kernel, pid in zip(self._branching, frame["pids"]):
                kernel.pid = pid
                paused = kernel.role == "snapshot"
                self.box.send({"type": "adopt", "kernel": kernel.name, "pid": pid, "paused": paused})
        if frame["type"] == "resumed":
            self.resumed = frame
        if frame["type"] == "done":
            for name, fifo in (("stdout", self.stdout), ("stderr", self.stderr)):
                if frame["unread"][name] > 0:
                    fifo.read()
                fifo.running = None

    def signal(self, number: int, target: str = "kernel") -> None:
        """Sends a signal; returns when the supervisor has sent it on."""
        request = self.request_signal(number, target)
        sent = lambda: any(r["type"] == "signalled" and r["request"] == request for r in self.box.reports)  # noqa: E731
        self.box.pump_until(sent, "the signal")

    def request_signal(self, number: int, target: str = "kernel") -> int:
        request = next(_ids)
        self.box.send(
            {
                "type": "signal",
                "kernel": self.name,
                "signal": int(number),
                "target": target,
                "since_ms": 0 if self.running is None else self.running.began * 1000,
                "request": request,
            }
        )
        return request

    def interrupt(self, run: Run | None = None, target: str = "started") -> None:
        """Interrupts the newest execution, or an earlier one."""
        run = run or self.running
        if run is not None:
            run.interrupts += 1
            self.name_interrupt(run.id, run.interrupts)
            now = time.monotonic()
            self._again = [(now + seconds, run, run.interrupts) for seconds in AGAIN_SECONDS]
        self.signal(signal.SIGINT, target)

    def interrupt_until_done(self, run: Run) -> Run:
        """Interrupts anew until the execution ends: for code that takes an interrupt for an answer and waits again."""
        end = time.monotonic() + DEADLINE
        while not run.of("done"):
            if time.monotonic() > end:
                raise Deadline(f"no interrupt has ended {run.id}")
            self.interrupt(run)
            try:
                run.wait(0.3)
            except Deadline:
                pass
        return run.wait()

    def interrupt_again(self) -> None:
        """Sends the last interrupt once more."""
        self.name_interrupt(self.running.id, self.running.interrupts)
        self.signal(signal.SIGINT)

    def send_due_interrupts(self) -> None:
        """Sends again what has not ended its execution in time, as the daemon does: CPython forgets a signal that
        comes just before a system call that waits, until the next one comes."""
        while self._again and self._again[0][0] <= time.monotonic():
            _, run, number = self._again.pop(0)
            if not run.of("done") and run is self.running and self.exited is None:
                try:
                    self.name_interrupt(run.id, number)
                except OSError:
                    return  # Nobody reads: the kernel has ended, and its end is still to be told.
                self.request_signal(signal.SIGINT)

    def name_interrupt(self, request: str, number: int = 1) -> None:
        with open(os.open(self._names, os.O_WRONLY | os.O_NONBLOCK), "w") as names:
            names.write(f"{request}/{number}\n")

    def wait_exit(self, seconds: float = DEADLINE) -> dict:
        self.box.pump_until(lambda: self.exited is not None, f"the end of kernel {self.name}", seconds)
        return self.exited


class Process:
    """A child process with descriptor 3 for its control channel, and nothing else inherited."""

    def __init__(self, command: list, control: int, stderr: Path) -> None:
        self.returncode = None
        error = (os.POSIX_SPAWN_OPEN, 2, str(stderr), os.O_WRONLY | os.O_CREAT, 0o600)
        null = (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDWR, 0)
        actions = [null, error, (os.POSIX_SPAWN_DUP2, 0, 1), (os.POSIX_SPAWN_DUP2, control, 3)]
        self.pid = os.posix_spawn(command[0], command, {"LANG": "C.UTF-8"}, file_actions=actions, setpgroup=0)

    def wait(self, seconds: float = DEADLINE) -> int:
        wait_until(self._ended, f"the end of process {self.pid}", seconds)
        return self.returncode

    def _ended(self) -> bool:
        if self.returncode is None:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid != 0:
                self.returncode = -os.WTERMSIG(status) if os.WIFSIGNALED(status) else os.WEXITSTATUS(status)
        return self.returncode is not None

    def kill(self) -> None:
        if self.returncode is None:
            os.kill(self.pid, signal.SIGKILL)


class Box:
    """A supervisor process and what the daemon holds for it."""

    def __init__(self, python: str = sys.executable, as_folder: bool = False, arguments: tuple = ()) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="ec-"))
        self.work = self.folder / "work"
        self.temporary = self.folder / "tmp"
        for folder in (self.work, self.temporary):
            folder.mkdir()
        self.listener_path = self.folder / "k.sock"
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(self.listener_path))
        self._listener.listen()
        self._control, theirs = socket.socketpair()
        self._reader = FrameReader()
        self._strangers: list = []
        self.reports: list = []
        self.kernels: dict = {}
        program = PACKAGE if as_folder else PACKAGE / "__main__.py"
        self.process = Process(
            [python, "-I", str(program), _PYCACHE, *arguments], theirs.fileno(), self.folder / "stderr"
        )
        theirs.close()

    def __enter__(self) -> Box:
        self.ready = self.wait_report("ready")
        return self

    def __exit__(self, *_) -> None:
        self.close()

    def close(self) -> None:
        """Ends the box by its lifeline, and checks that nothing of it is left."""
        below = descendants(self.process.pid)
        self._control.close()
        self._listener.close()
        for kernel in self.kernels.values():
            if kernel.socket is not None:
                kernel.socket.close()
            for fifo in kernel.fifos:
                os.close(fifo.fd)
        for stranger, _ in self._strangers:
            stranger.close()
        try:
            self.process.wait()
        except Deadline:
            self.process.kill()
            self.process.wait()
            raise
        shutil.rmtree(self.folder, ignore_errors=True)
        left = [pid for pid in below if alive(pid)]
        if left:
            wait_until(lambda: not any(map(alive, left)), f"processes outlived their box: {left}")

    @property
    def complaints(self) -> str:
        """What the supervisor has written to its stderr."""
        return (self.folder / "stderr").read_text()

    def send(self, frame: dict) -> None:
        self._control.sendall(encode(frame))

    def start_fork(self, env: dict | None = None, cwd: str | None = None, **changes) -> Kernel:
        environment = {"PATH": os.environ.get("PATH", "/usr/bin:/bin"), "HOME": str(self.work)}
        environment.update({"TMPDIR": str(self.temporary), **(env or {})})
        kernel = Kernel(self, f"k{len(self.kernels) + 1}", cwd or str(self.work), environment)
        self.kernels[kernel.name] = kernel
        self.send({**kernel.request, **changes})
        return kernel

    def fork(self, **options) -> Kernel:
        kernel = self.start_fork(**options)
        self.pump_until(lambda: kernel.socket is not None or kernel.exited is not None, "the kernel's hello")
        assert kernel.socket is not None, kernel.exited
        return kernel

    def wait_report(self, kind: str) -> dict:
        self.pump_until(lambda: any(r["type"] == kind for r in self.reports), f"the report {kind}")
        return [report for report in self.reports if report["type"] == kind][-1]

    def pump_until(self, condition, what: str, seconds: float = DEADLINE, output: bool = True) -> None:
        end = time.monotonic() + seconds
        while True:
            self._pump(0.0, output)
            if condition():
                return
            left = end - time.monotonic()
            if left <= 0:
                raise Deadline(f"{what} did not come in {seconds} s")
            self._pump(min(left, 0.03), output)
            for kernel in self.kernels.values():
                kernel.send_due_interrupts()

    def _pump(self, seconds: float, output: bool) -> None:
        """Takes in everything that has arrived, waiting so long for the first of it."""
        kernels = list(self.kernels.values())
        sources = [self._control, self._listener]
        sources += [stranger for stranger, _ in self._strangers]
        sources += [kernel.socket for kernel in kernels if kernel.socket is not None and kernel.socket.fileno() >= 0]
        if output:
            # A FIFO whose writers have all gone is always readable: its end is looked at but not waited for.
            living = [kernel for kernel in kernels if kernel.exited is None]
            sources += [fifo.fd for kernel in living for fifo in kernel.fifos if not fifo.ended]
        readable, _, _ = select.select(sources, [], [], seconds)
        if output:
            for kernel in kernels:
                for fifo in kernel.fifos:
                    fifo.read()
        for source in readable:
            if source is self._control:
                self._take_reports()
            elif source is self._listener:
                self._strangers.append((self._listener.accept()[0], FrameReader()))
            elif isinstance(source, socket.socket):
                self._take_frames(source)

    def _take_reports(self) -> None:
        data = self._control.recv(65536)
        if not data:
            raise Deadline(f"the supervisor is gone: {self.process.wait()}")
        for report in self._reader.feed(data):
            wrong = check("control", "to_daemon", report)
            assert wrong is None, wrong
            self.reports.append(report)
            if report["type"] == "exited":
                self.kernels[report["kernel"]].exited = report
            elif report["type"] == "forked":
                self.kernels[report["kernel"]].pid = report["pid"]

    def _take_frames(self, source: socket.socket) -> None:
        try:
            data = source.recv(1 << 20)
        except ConnectionResetError:
            data = b""
        for stranger in self._strangers:
            if stranger[0] is source:
                hello = stranger[1].feed(data)
                if hello:
                    kernel = next(k for k in self.kernels.values() if k.nonce == hello[0]["nonce"])
                    self._strangers.remove(stranger)
                    kernel.socket, kernel.reader = stranger
                    kernel.frames.extend(hello)
                return
        kernel = next(k for k in self.kernels.values() if k.socket is source)
        if not data:
            source.close()
            kernel.socket = None
            return
        for frame in kernel.reader.feed(data):
            kernel.take(frame)


def descendants(root: int) -> set:
    """Pids below a process, itself not included."""
    parents = {}
    for name in os.listdir("/proc"):
        if name.isdigit():
            try:
                parents[int(name)] = int(Path(f"/proc/{name}/stat").read_text().rpartition(")")[2].split()[1])
            except OSError:
                pass
    found = {root}
    while True:
        more = {pid for pid, parent in parents.items() if parent in found} - found
        if not more:
            return found - {root}
        found |= more


class KernelTest(unittest.TestCase):
    """A box for each class, a fresh kernel for each test."""

    @classmethod
    def setUpClass(cls) -> None:
        cls.box = Box().__enter__()

    @classmethod
    def tearDownClass(cls) -> None:
        cls.box.close()

    def setUp(self) -> None:
        self.kernel = self.box.fork()

    def tearDown(self) -> None:
        for kernel in self.box.kernels.values():
            if kernel.exited is None and kernel.pid:
                kernel.signal(signal.SIGKILL, "tree")
                kernel.wait_exit()

    def run_ok(self, code: str) -> Run:
        run = self.kernel.run(textwrap.dedent(code))
        self.assertEqual(run.status, "ok", run.error and run.error["traceback"])
        return run

    def run_error(self, code: str, kind: str) -> Run:
        run = self.kernel.run(textwrap.dedent(code))
        self.assertEqual(run.status, "error")
        self.assertEqual(run.error["type"], kind, run.error["traceback"])
        return run

    def assert_alive(self) -> None:
        """The kernel still runs cells, and shows their output and values."""
        run = self.run_ok("print('still'); 'here'")
        self.assertEqual((run.stdout, run.text), ("still\n", "'here'"))
