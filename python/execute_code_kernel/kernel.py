"""The kernel: one process that holds a session's variables and runs its cells, one after another.

States: idle ⇄ executing → gone. It ends when the daemon asks (`shutdown`), when the channel ends, or when session
code ends the process. All of a kernel's state hangs on one `Kernel` object.
"""

from __future__ import annotations

from .private import builtins as __builtins__

import builtins as _live_builtins
import sys
from atexit import _run_exitfuncs
from gc import freeze
from os import _exit, getcwd, getpid
from os import environ as _environ
from os import register_at_fork
from types import ModuleType

from . import analysis, api, branches, display, libraries, observers, spawn, tracebacks
from .background import Background
from .cells import Compiler, Runner
from .channel import Channel, ChannelClosed, ChannelLost
from .effects import Effects
from .fifos import Fifos
from .frames import FrameError, FrameReader, encode
from .imports import ImportHooks
from .inspection import Inspector
from .interrupts import Interrupts
from .metrics import Meter
from .namespace import Watch
from .reserve import Reserve
from .sources import Sources
from .streams import TICK_SIGNAL, Streams
from .warned import Warned

PROTOCOL = 1

_CHANNEL_LOST = 71
"""Exit status of a kernel whose connection session code has closed."""
_NO_ANSWER = 73
"""Exit status of a kernel that had no memory for its answer."""

_REHEARSALS = 12
_REHEARSAL = "exec_rehearsal"

_NO_CHANGES = {"added": [], "changed": [], "deleted": []}


def preload() -> None:
    """Imports what kernels need at their first error too, so that every fork shares it."""
    import traceback  # noqa: F401


class Kernel:
    """A kernel process. Owns its channel, output, namespace and history of sources."""

    def __init__(
        self, channel: Channel, fifos: Fifos, interrupts: int, meter: Meter, nonce: str, keep_above: int
    ) -> None:
        """`interrupts` is the FIFO that names the requests to interrupt; the kernel's own descriptors are `keep_above`
        or higher."""
        self._pid = getpid()
        self._channel = channel
        self._keep_above = keep_above
        self._fifos = fifos
        self._background = Background()
        self._streams = Streams(self._background)
        self._last = ""
        self._paused = False
        """A snapshot, which runs nothing."""
        self._baseline = {"path": list(sys.path), "cwd": getcwd(), "environ": dict(_environ)}
        self._unanswered = None
        """The request that has no answer yet."""
        self._reserve = Reserve()
        self._nonce = nonce
        self._main = _new_main()
        self._namespace = vars(self._main)
        self._interrupts = Interrupts(
            interrupts,
            keep=[] if TICK_SIGNAL is None else [TICK_SIGNAL],
            streams=self._streams,
            origin=self._background.origin,
        )
        self._sources = Sources()
        self._sources.install()
        self._warned = Warned()
        self._warned.install()
        observers.install()
        self._compiler = Compiler()
        self._runner = Runner(self._namespace, self._interrupts, self._reserve)
        register_at_fork(after_in_child=self._runner.after_fork)
        self._watch = Watch(self._namespace)
        self._inspector = Inspector(self._namespace, self._sources)
        self._meter = meter
        hooks = ImportHooks()
        hooks.install()
        self._effects = Effects(keep_above, self._interrupts.on_dropped, channel, self._namespace)
        self._effects.install()
        self._api = api.Api(channel, self._effects)
        self._api.install(hooks)
        self._inspector.install(hooks)
        spawn.install(hooks, self._sources, self._namespace)
        libraries.install(hooks, self._api)

    def run(self) -> None:
        """Serves until the end. Does not return."""
        self._interrupts.install()
        # Before the daemon knows of the kernel: no interrupt can be meant for a cell yet.
        self._rehearse()
        self._channel.send(self.hello(self._nonce, self._pid))
        while True:
            try:
                self._wait()
                self._serve(self._channel.take())
            except ChannelLost:
                _exit(_CHANNEL_LOST)
            except (ChannelClosed, FrameError):
                _exit(0)
            except BaseException as error:
                # What session code did to the interpreter, or a lack of memory, has stopped the kernel's own code.
                relieved = not self._reserve.memory.closed
                self._reserve.release()
                try:
                    if getpid() != self._pid:
                        _exit(1)
                    self._answer_barely(type(error), relieved)
                except BaseException:
                    _exit(_NO_ANSWER)

    def hello(self, nonce: str, pid: int) -> dict:
        """How a kernel, or a branch of one, says to the daemon who it is."""
        return {"type": "hello", "protocol": PROTOCOL, "nonce": nonce, "pid": pid}

    def _answer_barely(self, kind: type, relieved: bool) -> None:
        """The answer to a request that failed in the kernel's own code: as a rule because memory ran out. `relieved`:
        there is more of it now."""
        request, self._unanswered = self._unanswered, None
        if request is not None:
            self._channel.answer(_bare_answer(request, kind))
            self._interrupts.settle()
            self._reserve.hold()
        elif not relieved and issubclass(kind, MemoryError):
            _exit(_NO_ANSWER)

    def _wait(self) -> None:
        """Waits for a request, while background tasks go on."""
        while not self._paused and self.has_background() and not self._channel.pending:
            failed = self._interrupts.turn(lambda: self._runner.turn(self._channel))
            if getpid() != self._pid:
                self._leave_fork(failed)  # A task forked, and its child went on.
            if failed is not None and not issubclass(type(failed), KeyboardInterrupt):
                self._streams.complain(f"The session's event loop ended: {type(failed).__name__}\n")
            self._channel.read_ready()
        self._channel.wait()

    def has_background(self) -> bool:
        """Whether there may be tasks that go on between cells."""
        try:
            return self._runner.has_loop
        except Exception:  # The loop is session code's to break.
            self._runner.drop_loop()
            return False

    def _rehearse(self) -> None:
        """Takes a cell's way as often as the interpreter wants before it has specialized the kernel's code. What is
        first written after a fork is a page to copy: neither the session's first cells shall pay for that, nor each
        of its snapshots. Nothing of it stays."""
        reader = FrameReader()
        for code in ("rehearsed = 0\nrehearsed", "del rehearsed") * (_REHEARSALS // 2):
            request = {"type": "execute", "id": _REHEARSAL, "code": code, "env": {}, "streams": None}
            for frame in reader.feed(encode(request)):
                encode(self._perform(frame))
        self._sources.forget(_REHEARSAL)
        self._last = ""
        # What a collector looks through it writes to: nothing of the kernel is any of its business.
        freeze()

    def _serve(self, frame: dict) -> None:
        kind = frame["type"]
        if kind == "shutdown":
            self._shut_down()
        self._unanswered = frame
        if kind == "execute":
            self._execute(frame)
        elif kind == "inspect":
            self._inspect(frame)
        elif kind == "complete":
            self._complete(frame)
        elif kind == "branch":
            self._branch(frame)
        elif kind == "resume":
            self._resume(frame)
        elif kind in ("restore", "merge"):
            self._take_in(frame)
        self._unanswered = None
        self._reserve.hold()

    # ── executing ───────────────────────────────────────────────────────────────────────────────────────────

    def _execute(self, request: dict) -> None:
        frame = self._perform(request)
        try:
            self._channel.answer(frame)
        except FrameError:
            self._channel.answer({**frame, "result": _too_large(frame["result"]), "variables": _NO_CHANGES})

    def _perform(self, request: dict) -> dict:
        """Runs a cell; gives the frame that tells of its end."""
        execution, code = request["id"], request["code"]
        self._interrupts.prepare(execution)
        if request["streams"] is not None:
            self._replace_streams(execution, request["streams"])
        self._last = execution
        self._background.begin(execution)
        self._api.begin(execution)
        run = _Execution(self, request)
        self._effects.begin(execution)
        self._meter.start()
        _, raised = self._interrupts.run(run)
        frame = {"type": "done", "id": execution, "status": "ok", "result": run.result, "error": None}
        self._meter.stop(frame)
        if getpid() != self._pid:
            self._leave_fork(raised)
        frame["effects"] = self._effects.end(run.codes)
        if raised is not None:
            try:
                frame.update(self._failure(run, raised))
            except BaseException:
                frame.update(status="error", result=None, error=tracebacks.describe_barely(type(raised)))
        if not self._fifos.are_in_place():
            self._streams.flush()
            self._fifos.restore()
        self._streams.restore()
        # Whatever can be told of it, an execution ends with its frame.
        frame["variables"] = _NO_CHANGES
        # Code that names nothing changes nothing; what background tasks did meanwhile is seen next time.
        if run.names:
            try:
                frame["variables"] = self._watch.changes(run.names.union(self._effects.reached))
            except BaseException:
                pass
        changes = frame["variables"]
        frame["changed"] = any(changes.values()) or self._may_have_acted(run.tree)
        try:
            frame["ast_hash"], frame["imports"] = analysis.features(run.tree, code)
        except BaseException:
            frame["ast_hash"], frame["imports"] = analysis.NO_FEATURES
        del run, raised
        if getpid() != self._pid:
            self._leave_fork(None)  # What the error or a variable runs has forked.
        self._api.end()
        try:
            frame["lingering"] = self._background.end(execution, self._runner.tasks())
        except BaseException:
            frame["lingering"] = True
        frame["unread"] = self._fifos.unread()
        # Before the answer: what comes after it may be meant for the next execution.
        self._interrupts.settle()
        return frame

    def _may_have_acted(self, tree) -> bool:
        """Whether a cell may have changed what no look at variables shows."""
        try:
            from .looking import only_looks

            return self._interrupts.traced or not only_looks(tree, self._namespace)
        except BaseException:
            return True

    def _replace_streams(self, execution: str, paths: dict) -> None:
        """What the last execution left behind keeps its FIFOs; this one gets others."""
        try:
            earlier = self._fifos.replace(paths["stdout"], paths["stderr"])
        except OSError:  # No descriptor is free: late output and this execution's are not told apart.
            self._channel.send({"type": "streams_kept", "id": execution})
        else:
            self._background.keep(self._last, earlier)

    def _failure(self, run: _Execution, raised) -> dict:
        """`status`, `result` and `error` of an execution that raised."""
        interrupted = self._interrupts.received and tracebacks.is_of_interrupt(raised)
        # An exception's text is session code: it may hang, and is interrupted then.
        error, failed = self._interrupts.run(
            lambda: tracebacks.describe(raised, run.name, self._sources), quiet=True
        )
        return {
            "status": "interrupted" if interrupted else "error",
            "result": None,
            "error": error if failed is None else tracebacks.describe_barely(type(raised)),
        }

    def _leave_fork(self, raised) -> None:
        """The end of a process that session code forked and let run on: it must not speak for the session."""
        status = 0 if raised is None else 1
        self._streams.flush()
        try:
            if issubclass(type(raised), SystemExit):
                status, text = _exit_status(raised.code)
            elif raised is not None:
                text = tracebacks.describe(raised, "", self._sources)["traceback"]
            else:
                text = ""
        except BaseException:
            text = tracebacks.describe_barely(type(raised))["traceback"]
        if text:
            self._streams.complain(text + "\n")
        self._streams.flush()
        _exit(status & 0xFF)

    # ── other requests ──────────────────────────────────────────────────────────────────────────────────────

    def _inspect(self, frame: dict) -> None:
        answer = {"type": "inspected", "request": frame["request"], "variables": None, "detail": None, "error": None}
        name = frame["name"]
        self._interrupts.prepare(frame["request"])
        # No code of a variable is run on purpose; a library's may take long, and can be interrupted.
        look = self._inspector.summary if name is None else lambda: self._inspector.detail(name, frame["depth"])
        found, failed = self._interrupts.run(look, quiet=True)
        if failed is None:
            answer["variables" if name is None else "detail"] = found
        elif type(failed) is KeyError and name not in self._namespace:
            answer["error"] = {"code": "unknown_variable", "message": f"There is no variable `{name}`."}
        else:
            what = "The variables" if name is None else f"`{name}`"
            why = "it took too long" if self._interrupts.received else type(failed).__name__
            answer["error"] = _inspection_failed(f"{what} could not be looked at: {why}.")
        self._interrupts.settle()
        try:
            self._channel.answer(answer)
        except FrameError:
            error = _inspection_failed("The answer is too large.")
            self._channel.answer({**answer, "variables": None, "detail": None, "error": error})

    def _complete(self, frame: dict) -> None:
        from . import completion

        self._interrupts.prepare(frame["request"])
        found, failed = self._interrupts.run(
            lambda: completion.complete(self._namespace, self._compiler, frame["code"], frame["cursor"]), quiet=True
        )
        self._interrupts.settle()
        # What cannot be judged may be run, which says why.
        self._channel.answer({**_not_judged(frame), **(found if failed is None else {})})

    # ── branches ────────────────────────────────────────────────────────────────────────────────────────────

    def _branch(self, frame: dict) -> None:
        """Forks this kernel; a branch returns from here with a connection of its own."""
        answer = _no_branches(frame)
        try:
            branch = branches.fork(self, frame, answer)
        except OSError as error:
            answer["error"] = {"code": "fork_failed", "message": f"The kernel could not be forked: {error}."}
            branch = None
        if branch is None:
            self._channel.answer(answer)
            return
        try:
            branches.begin(self, branch, frame["listener"])
        except OSError:
            _exit(1)  # Whoever waits for it learns of its end.
        if branch.order["role"] == "capture":
            from . import capturing

            capturing.run(self, branch.order)

    def _resume(self, frame: dict) -> None:
        """Ends the pause of this snapshot."""
        answer = {"type": "resumed", "request": frame["request"], "error": None}
        try:
            branches.resume(self, frame)
        except OSError as error:
            answer["error"] = f"The snapshot could not be resumed: {error}."
        self._channel.answer(answer)
        if answer["error"] is None:
            self._unanswered = None
            branches.settle(self, frame)

    # ── restoring ───────────────────────────────────────────────────────────────────────────────────────────

    @property
    def state(self):
        """What a capture holds, and a restore fills."""
        from .capture import State

        return State(self._namespace, self._sources, self._compiler, self._baseline)

    def _take_in(self, frame: dict) -> None:
        """Makes the variables of this fresh kernel those of another one; or takes some in from another session."""
        from . import merging, recovery

        answer = _no_variables(frame)
        work = (recovery if frame["type"] == "restore" else merging).run
        self._interrupts.prepare(frame["request"])
        self._fifos.silence()
        found, failed = self._interrupts.run(lambda: work(self, frame))
        self._effects.may_hold_files = True
        self._effects.look_anew()
        if getpid() != self._pid:
            self._leave_fork(failed)
        if failed is None:
            answer.update(found)
        else:
            answer["error"] = f"The variables could not be taken in: {type(failed).__name__}."
        self._streams.flush()
        self._fifos.restore()
        self._streams.restore()
        self._interrupts.settle()
        self._channel.answer(answer)

    def run_again(self, execution: str, code: str):
        """Runs a past execution once more, for the variables that it makes; gives what it raised, or None. Its output
        is in the history already."""
        name = self._sources.add(execution, _without_mark(code))
        self._api.repeats = True
        try:
            tree = self._compiler.parse(_without_mark(code), name)
            cell = self._compiler.compile(tree, _without_mark(code), name)
            self._sources.settle(name, cell.codes)
            self._runner.run(cell)
        except KeyboardInterrupt:
            raise
        except BaseException as error:
            return error
        finally:
            self._api.repeats = False
        return None

    def _shut_down(self) -> None:
        """A graceful end: exit functions run, output is written."""
        self._interrupts.run(_run_exitfuncs)
        if getpid() == self._pid:
            self._streams.restore()
        _exit(0)


class _Execution:
    """One cell on its way: calling it runs everything that may run session code."""

    def __init__(self, kernel: Kernel, request: dict) -> None:
        self._kernel = kernel
        self._code = _without_mark(request["code"])
        self._execution = request["id"]
        self._env = request["env"]
        self.name = ""
        self.tree = None
        self.codes: list = []
        self.names: frozenset = frozenset()
        self.result = None

    def __call__(self) -> None:
        kernel = self._kernel
        code = self._code
        kernel._namespace.pop("__warningregistry__", None)  # Each cell may warn again.
        outer = _environment_of(self._env) if self._env else None
        self.name = kernel._sources.add(self._execution, code)
        self.tree = kernel._compiler.parse(code, self.name)
        cell = kernel._compiler.compile(self.tree, code, self.name)
        self.codes = cell.codes
        kernel._sources.settle(self.name, cell.codes)
        self.names = analysis.mentioned_names(cell.codes)
        kernel._warned.begin(self.name, self.tree)
        try:
            if self._env:
                _environ.update(self._env)
            value = kernel._runner.run(cell)
            if value is not None:
                self.result = display.result(value)
        except BaseException:
            kernel._reserve.release()
            raise
        finally:
            if getpid() == kernel._pid:
                kernel._api.figures.finish()
                kernel._streams.take_back()
            if outer:
                _reset_environment(outer)


def _inspection_failed(message: str) -> dict:
    return {"code": "inspection_failed", "message": message}


def _without_mark(code: str) -> str:
    """The code without a byte order mark, which is none of its characters."""
    return code[1:] if code[:1] == "\ufeff" else code


def _exit_status(code) -> tuple:
    """The status that `sys.exit(code)` gives a process, and what it says."""
    if code is None or isinstance(code, int):
        return int(code or 0), ""
    return 1, str(code)


def _no_variables(request: dict) -> dict:
    """An answer to `restore` or `merge`, to be filled in."""
    answer = {"request": request["request"], "variables": [], "error": None}
    if request["type"] == "restore":
        return {"type": "restored", "replayed": [], **answer}
    return {"type": "merged", "classes": [], **answer}


def _no_branches(request: dict) -> dict:
    """An answer to `branch`, to be filled in."""
    answer = {"type": "branched", "request": request["request"], "pids": [], "unsafe": []}
    return {**answer, "still": False, "error": None}


def _not_judged(request: dict) -> dict:
    """An answer to `complete` without content."""
    answer = {"type": "completed", "request": request["request"], "matches": [], "start": 0, "end": 0}
    return {**answer, "status": "invalid", "indent": ""}


def _bare_answer(request: dict, kind: type) -> dict:
    message = "The kernel had no memory left for a better answer." if issubclass(kind, MemoryError) else ""
    if request["type"] in ("restore", "merge"):
        error = message or f"The variables could not be taken in: {kind.__name__}."
        return {**_no_variables(request), "error": error}
    if request["type"] == "complete":
        return _not_judged(request)
    if request["type"] == "branch":
        error = {"code": "fork_failed", "message": message or f"The kernel could not be forked: {kind.__name__}."}
        return {**_no_branches(request), "error": error}
    if request["type"] == "resume":
        error = message or f"The snapshot could not be resumed: {kind.__name__}."
        return {"type": "resumed", "request": request["request"], "error": error}
    if request["type"] == "inspect":
        error = _inspection_failed(message or f"The variables could not be looked at: {kind.__name__}.")
        return {"type": "inspected", "request": request["request"], "variables": None, "detail": None, "error": error}
    return {
        "type": "done",
        "id": request["id"],
        "status": "error",
        "result": None,
        "error": tracebacks.describe_barely(kind, message),
        "variables": _NO_CHANGES,
        "changed": True,
        "effects": [],
        "ast_hash": None,
        "imports": [],
        "duration_ms": 0.0,
        "cpu_ms": 0.0,
        "peak_memory_bytes": 0,
        "unread": {"stdout": 1, "stderr": 1},
        "lingering": True,
    }


def _environment_of(names) -> dict:
    """What these variables of the environment are; None for those that are not there."""
    return {name: _environ.get(name) for name in names}


def _reset_environment(outer: dict) -> None:
    for name, value in outer.items():
        if value is None:
            _environ.pop(name, None)
        else:
            _environ[name] = value


def _new_main() -> ModuleType:
    """The session's `__main__`: a real module, so that pickle and typing find what cells define."""
    main = ModuleType("__main__")
    main.__builtins__ = _live_builtins
    sys.modules["__main__"] = main
    return main


def _too_large(result):
    if result is None:
        return None
    return {"text": result["text"], "mime": {"text/plain": result["text"]}}
