"""Compiles and runs a cell: statements, then the value of a last expression; `await` wherever a cell has it."""

from __future__ import annotations

from .private import builtins as __builtins__

import ast
import builtins as _live_builtins
from ast import AST, Expr, Expression, Module
from contextvars import copy_context
from os import getpid
from signal import set_wakeup_fd

import __future__ as _future

from .previews import instance_dict

_TOP_LEVEL_AWAIT = ast.PyCF_ALLOW_TOP_LEVEL_AWAIT
_ONLY_AST = ast.PyCF_ONLY_AST
_COROUTINE = 0x80  # inspect.CO_COROUTINE
_LOOP_NAMES = frozenset(("create_task", "get_running_loop"))
_RUNNING_NAMES = frozenset(("run", "run_until_complete", "run_forever", "Runner"))
_STOPPED = ("Event loop stopped before Future completed.",)
_FUTURE_FLAGS = 0
for _name in _future.all_feature_names:
    _FUTURE_FLAGS |= getattr(_future, _name).compiler_flag


def parse(source: str, name: str, flags: int = 0) -> Module:
    """A cell's syntax tree; when the cell has magics, with `bind` as its attribute, for what is compiled from it.
    `flags` are those of the session's compiler. Raises SyntaxError, ValueError, RecursionError or MemoryError."""
    flags |= _TOP_LEVEL_AWAIT | _ONLY_AST
    try:
        return compile(source, name, "exec", flags, dont_inherit=True)
    except SyntaxError as error:
        refused = error
    tree = _with_all_builtins(lambda: _parse_magics(source, name, flags))
    if tree is None:
        raise refused
    return tree


def _parse_magics(source: str, name: str, flags: int):
    """The tree of a cell that has magics, or None. Raises what `parse` raises."""
    try:
        from . import magics
    except KeyboardInterrupt:
        raise
    except BaseException:
        return None  # Session code has broken what imports need.
    return magics.parse(source, name, flags)


class Cell:
    """A compiled cell. `shows_value` tells whether its last expression's value is its result."""

    def __init__(self, tree: Module, codes: list, shows_value: bool) -> None:
        self.tree = tree
        self.codes = codes
        self.shows_value = shows_value
        self.awaits = _await(codes)


def _await(codes: list) -> bool:
    """Whether a cell awaits; or without `await` asks for the running loop at its top level, as a notebook's cell may:
    it runs inside the loop then, unless it means to run one itself."""
    for code in codes:
        if code.co_flags & _COROUTINE:
            return True
        if not _LOOP_NAMES.isdisjoint(code.co_names) and _RUNNING_NAMES.isdisjoint(code.co_names):
            return True
    return False


class Compiler:
    """Compiles cells of one session: future imports of a cell hold for those after it."""

    def __init__(self) -> None:
        self._flags = _TOP_LEVEL_AWAIT

    @property
    def flags(self) -> int:
        return self._flags

    def parse(self, source: str, name: str) -> Module:
        return parse(source, name, self._flags)

    def compile(self, tree: Module, source: str, name: str) -> Cell:
        body = tree.body
        shows_value = bool(body) and type(body[-1]) is Expr and not _ends_with_semicolon(source, body[-1])
        codes = []
        if not shows_value:
            codes.append(self._code(tree, name, "exec"))
        else:
            if len(body) > 1:
                codes.append(self._code(Module(body=body[:-1], type_ignores=[]), name, "exec"))
            codes.append(self._code(Expression(body=body[-1].value), name, "eval"))
        # The tree of a cell with magics has constants that stand for their helper.
        bind = getattr(tree, "bind", None)
        return Cell(tree, codes if bind is None else [bind(code) for code in codes], shows_value)

    def _code(self, tree: AST, name: str, mode: str):
        code = compile(tree, name, mode, self._flags, dont_inherit=True)
        self._flags |= code.co_flags & _FUTURE_FLAGS
        return code


def _with_all_builtins(function):
    """Calls a function that needs the standard library. Builtins that session code has deleted are there meanwhile."""
    live = vars(_live_builtins)
    missing = {name: value for name, value in __builtins__.items() if name not in live}
    live.update(missing)
    try:
        return function()
    finally:
        for name in missing:
            live.pop(name, None)


def _ends_with_semicolon(source: str, last) -> bool:
    """Whether a semicolon follows the last expression."""
    if ";" not in source:
        return False
    lines = source.splitlines(True) if "\f" not in source and "\v" not in source else source.split("\n")
    line = last.end_lineno - 1
    if line >= len(lines):
        return False
    rest = lines[line].encode("utf-8", "surrogatepass")[last.end_col_offset :]
    return rest.lstrip(b" \t)").startswith(b";")


class Runner:
    """Runs compiled cells in the session's namespace, on one event loop for the session's life.

    The loop turns while a cell awaits, and between cells; while a cell computes, background tasks pause.
    """

    def __init__(self, namespace: dict, interrupts, reserve) -> None:
        """`reserve` is memory that is released when an awaiting cell fails: before the event loop needs some."""
        self._namespace = namespace
        self._reserve = reserve
        self._interrupts = interrupts
        self._loop = None
        self._heard = None
        """The descriptor whose readiness ends the loop's turn, while it turns between cells."""

    def run(self, cell: Cell):
        """The value of the last expression, or None. Raises what the cell raises."""
        if cell.awaits:
            return self._run_awaiting(cell)
        value = None
        for code in cell.codes:
            value = eval(code, self._namespace)
        return value if cell.shows_value else None

    def _run_awaiting(self, cell: Cell):
        loop = self._event_loop()
        context_after: list = []
        task = loop.create_task(self._steps(cell, context_after))
        self._interrupts.cancel = _Cancellation(loop, task)
        try:
            value = _complete(loop, task)
        except BaseException as error:
            if not task.done():
                # An interrupt left the loop in mid-flight: let the task clean up after itself.
                task.cancel()
                self._interrupts.cancel = None
                self._drain(loop, task)
            if self._interrupts.received and type(error).__name__ == "CancelledError":
                raise KeyboardInterrupt().with_traceback(error.__traceback__) from None
            raise
        finally:
            self._interrupts.cancel = None
            for context in context_after:
                _adopt(context)
        return value if cell.shows_value else None

    def tasks(self) -> list:
        """The tasks of the event loop that are not done."""
        if not self.has_loop:
            return []
        from asyncio import all_tasks

        return list(all_tasks(self._loop))

    @property
    def has_loop(self) -> bool:
        """Whether there may be work for `turn`: the session has awaited something."""
        return self._loop is not None and not self._loop.is_closed()

    def drop_loop(self) -> None:
        """Forgets the event loop; the next cell that awaits gets another."""
        self._loop = None

    def after_fork(self) -> None:
        """In a child that session code forked: its loop waits with what it has for itself. One that turned between
        cells does so to the end of the task that forked."""
        loop = self._loop
        if loop is None:
            return
        _separate(loop, self._heard)
        if self._heard is not None:
            from asyncio import current_task

            task = current_task(loop)
            if task is None:
                loop.call_soon(loop.stop)
            else:
                task.add_done_callback(lambda _: loop.stop())

    def begin_branch(self) -> None:
        """In a branch of the kernel: the threads that the loop has for what blocks are its parent's."""
        attributes = None if self._loop is None else instance_dict(self._loop)
        if attributes is not None and "_default_executor" in attributes:
            attributes["_default_executor"] = None

    def turn(self, channel) -> None:
        """Runs what goes on in the background until something arrives on the channel. Raises what the loop raises:
        KeyboardInterrupt, or its own failure, after which there is none."""
        loop, pid = self._loop, getpid()
        self._heard = channel.descriptor
        try:
            loop.add_reader(channel.descriptor, loop.stop)
            # Another thread may read what arrives.
            channel.on_frame = lambda: loop.call_soon_threadsafe(loop.stop)
            try:
                # What it has read before it was told whom to call is there already.
                if not channel.pending:
                    loop.run_forever()
            finally:
                channel.on_frame = None
                if getpid() == pid:
                    loop.remove_reader(channel.descriptor)
        except Exception:
            self._loop = None
            raise
        finally:
            self._heard = None

    def _drain(self, loop, task) -> None:
        try:
            _complete(loop, task)
        except BaseException as error:
            if type(error).__name__ != "CancelledError":
                raise

    async def _steps(self, cell: Cell, context_after: list):
        value = None
        try:
            for code in cell.codes:
                value = eval(code, self._namespace)
                if code.co_flags & _COROUTINE:
                    value = await value
        except BaseException:
            self._reserve.release()
            raise
        finally:
            context_after.append(copy_context())
        return value

    def _event_loop(self):
        import asyncio

        if not self.has_loop:
            self._loop = asyncio.new_event_loop()
        # `asyncio.run` in a plain cell leaves no current loop behind.
        asyncio.set_event_loop(self._loop)
        return self._loop


class _Cancellation:
    """Cancels a task as soon as its event loop comes to it; tells whether the task was not done yet."""

    def __init__(self, loop, task) -> None:
        self._loop = loop
        self._task = task
        self.waits = False

    def __call__(self) -> bool:
        if self._task.done():
            return False
        self.waits = True
        self._loop.call_soon_threadsafe(self._cancel)
        return True

    def _cancel(self) -> None:
        self.waits = False
        self._task.cancel()


def _complete(loop, task):
    """A task's value, also when its loop is stopped meanwhile: by session code, or by an earlier `stop` that it had
    only queued, as uvloop does."""
    while True:
        try:
            return loop.run_until_complete(task)
        except RuntimeError as error:
            if task.done() or type(error) is not RuntimeError or error.args != _STOPPED:
                raise


def _separate(loop, heard) -> None:
    """Gives the loop of a forked child a selector and a wake-up pipe of its own: what it takes from those of its
    parent, or takes away, is its parent's. `heard` is a descriptor that the child does not listen to."""
    shared = getattr(loop, "_selector", None)
    if shared is None:
        return  # Another kind of loop: uvloop sees to it by itself.
    own = type(shared)()
    for key in list(shared.get_map().values()):
        if key.fd != heard:
            own.register(key.fileobj, key.events, key.data)
    loop._selector = own
    shared.close()
    loop._close_self_pipe()
    loop._make_self_pipe()
    set_wakeup_fd(-1)


def _adopt(context) -> None:
    """Context variables that a cell's task has set hold for the cells after it."""
    current = copy_context()
    for variable, value in context.items():
        if variable not in current or current[variable] is not value:
            variable.set(value)
