"""The kernel: one process that holds a session's variables and runs its cells, one after another.

States: idle ⇄ executing → gone. It ends when the daemon asks (`shutdown`), when the channel ends, or when session
code ends the process. All of a kernel's state hangs on one `Kernel` object.
"""

from __future__ import annotations

from .private import builtins as __builtins__

import builtins as _live_builtins
import sys
from atexit import _run_exitfuncs
from os import _exit, getpid
from types import ModuleType

from . import analysis, api, display, spawn, tracebacks
from .cells import Compiler, Runner
from .channel import Channel, ChannelClosed
from .frames import FrameError, encode
from .imports import ImportHooks
from .inspection import Inspector
from .interrupts import Interrupts
from .metrics import Meter
from .namespace import Watch
from .sources import Sources
from .streams import TICK_SIGNAL, Fifos, Streams

PROTOCOL = 1

_NO_CHANGES = {"added": [], "changed": [], "deleted": []}


def preload() -> None:
    """Imports what kernels need at their first error too, so that every fork shares it."""
    import traceback  # noqa: F401


class Kernel:
    """A kernel process. Owns its channel, output, namespace and history of sources."""

    def __init__(self, channel: Channel, streams: Streams, fifos: Fifos, meter: Meter, nonce: str) -> None:
        self._pid = getpid()
        self._channel = channel
        self._streams = streams
        self._fifos = fifos
        self._nonce = nonce
        self._main = _new_main()
        self._namespace = vars(self._main)
        self._interrupts = Interrupts(channel.pending, keep=[] if TICK_SIGNAL is None else [TICK_SIGNAL])
        self._sources = Sources()
        self._compiler = Compiler()
        self._runner = Runner(self._namespace, self._interrupts)
        self._watch = Watch(self._namespace)
        self._inspector = Inspector(self._namespace, self._sources)
        self._meter = meter
        self._api = api.Api(channel)
        self._api.install()
        hooks = ImportHooks()
        hooks.install()
        spawn.install(hooks, self._sources)

    def run(self) -> None:
        """Serves until the end. Does not return."""
        self._interrupts.install()
        # Before the daemon knows of the kernel: no interrupt can be meant for a cell yet.
        self._interrupts.run(self._warm_up)
        self._channel.send({"type": "hello", "protocol": PROTOCOL, "nonce": self._nonce, "pid": self._pid})
        while True:
            try:
                self._channel.wait()
                self._interrupts.prepare()
                self._serve(self._channel.take())
            except (ChannelClosed, FrameError):
                _exit(0)
            except BaseException:
                if getpid() != self._pid:
                    _exit(1)
                # A handler of session code raised here all the same; what it interrupted goes on.

    def _warm_up(self) -> None:
        """Takes a cell's way once, outside the session: a page that is first written after the fork costs a copy, and
        the session's first cell shall not pay for all of them."""
        tree = self._compiler.parse("0", "<warm-up>")
        cell = self._compiler.compile(tree, "0", "<warm-up>")
        frame = {"type": "done", "result": display.result(Runner({}, self._interrupts).run(cell))}
        Watch({}).changes(analysis.mentioned_names(cell.codes))
        frame["ast_hash"], frame["imports"] = analysis.features(tree, "0")
        self._meter.start()
        self._meter.stop(frame)
        encode(frame)

    def _serve(self, frame: dict) -> None:
        kind = frame["type"]
        if kind == "execute":
            self._execute(frame["id"], frame["code"])
        elif kind == "inspect":
            self._inspect(frame)
        elif kind == "shutdown":
            self._shut_down()
        else:
            self._interrupts.settle()

    # ── executing ───────────────────────────────────────────────────────────────────────────────────────────

    def _execute(self, execution: str, code: str) -> None:
        self._api.begin(execution)
        run = _Execution(self, execution, code)
        self._meter.start()
        _, raised = self._interrupts.run(run)
        frame = {"type": "done", "id": execution, "status": "ok", "result": run.result, "error": None}
        self._meter.stop(frame)
        if getpid() != self._pid:
            self._leave_fork(raised)
        if raised is not None:
            try:
                frame.update(self._failure(run, raised))
            except BaseException:
                frame.update(status="error", result=None, error=tracebacks.describe_barely(raised))
        if not self._fifos.are_in_place():
            self._streams.flush()
            self._fifos.restore()
        self._streams.restore()
        # Whatever can be told of it, an execution ends with its frame.
        frame["variables"] = _NO_CHANGES
        # Code that names nothing changes nothing; what background tasks did meanwhile is seen next time.
        if run.names:
            try:
                frame["variables"] = self._watch.changes(run.names)
            except BaseException:
                pass
        try:
            frame["ast_hash"], frame["imports"] = analysis.features(run.tree, code)
        except BaseException:
            frame["ast_hash"], frame["imports"] = analysis.NO_FEATURES
        del run, raised
        self._api.end()
        frame["unread"] = self._fifos.unread()
        # Before the answer: what comes after it may be meant for the next execution.
        self._interrupts.settle()
        try:
            self._channel.answer(frame)
        except FrameError:
            self._channel.answer({**frame, "result": _too_large(frame["result"]), "variables": _NO_CHANGES})

    def _failure(self, run: _Execution, raised) -> dict:
        """`status`, `result` and `error` of an execution that raised."""
        interrupted = self._interrupts.received and issubclass(type(raised), KeyboardInterrupt)
        self._sources.refresh()
        # An exception's text is session code: it may hang, and is interrupted then.
        error, failed = self._interrupts.run(lambda: tracebacks.describe(raised, run.name, self._sources))
        return {
            "status": "interrupted" if interrupted else "error",
            "result": None,
            "error": error if failed is None else tracebacks.describe_barely(raised),
        }

    def _leave_fork(self, raised) -> None:
        """The end of a process that session code forked and let run on: it must not speak for the session."""
        status = 0
        if issubclass(type(raised), SystemExit):
            status = raised.code if type(raised.code) is int else int(raised.code is not None)
        elif raised is not None:
            status = 1
            try:
                error = tracebacks.describe(raised, "", self._sources)
            except BaseException:
                error = tracebacks.describe_barely(raised)
            self._streams.complain(error["traceback"] + "\n")
        self._streams.flush()
        _exit(status & 0xFF)

    # ── other requests ──────────────────────────────────────────────────────────────────────────────────────

    def _inspect(self, frame: dict) -> None:
        answer = {"type": "inspected", "request": frame["request"], "variables": None, "detail": None, "error": None}
        name = frame["name"]
        try:
            if name is None:
                answer["variables"] = self._inspector.summary()
            else:
                answer["detail"] = self._inspector.detail(name, frame["depth"])
        except KeyError:
            answer["error"] = f"There is no variable `{name}`."
        except Exception as error:
            answer["error"] = f"`{name}` could not be looked at: {type(error).__name__}."
        self._interrupts.settle()
        try:
            self._channel.answer(answer)
        except FrameError:
            self._channel.answer({**answer, "variables": None, "detail": None, "error": "The answer is too large."})

    def _shut_down(self) -> None:
        """A graceful end: exit functions run, output is written."""
        self._interrupts.run(_run_exitfuncs)
        if getpid() == self._pid:
            self._streams.restore()
        _exit(0)


class _Execution:
    """One cell on its way: calling it runs everything that may run session code."""

    def __init__(self, kernel: Kernel, execution: str, code: str) -> None:
        self._kernel = kernel
        self._code = code
        self._execution = execution
        self.name = ""
        self.tree = None
        self.names: frozenset = frozenset()
        self.result = None

    def __call__(self) -> None:
        kernel = self._kernel
        code = self._code
        self.name = kernel._sources.add(self._execution, code)
        self.tree = kernel._compiler.parse(code, self.name)
        cell = kernel._compiler.compile(self.tree, code, self.name)
        self.names = analysis.mentioned_names(cell.codes)
        try:
            value = kernel._runner.run(cell)
            if value is not None:
                self.result = display.result(value)
        finally:
            if getpid() == kernel._pid:
                kernel._api.show_figures()
                kernel._streams.flush_replaced()


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
