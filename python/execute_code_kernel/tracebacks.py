"""Errors as session code should see them: its own source lines, no frames of the kernel, bounded in size."""

from __future__ import annotations

from .private import builtins as __builtins__

import linecache
import os
import sys
import sysconfig
import traceback
from itertools import islice

from .previews import type_name
from .sources import Sources, execution_of

_TEXT_CHARS = 20_000
_NAME_CHARS = 500
_LAST_LINE = 2**31
_MESSAGE_CHARS = 4_000
_LINE_CHARS = 500
_STACK = 40
_FRAMES = 50
_COMPACT = {"compact": True} if sys.version_info >= (3, 10) else {}  # Chained exceptions that are not shown: left out.
_HAS_LAST_EXC = sys.version_info >= (3, 12)
_SUSPENDABLE = 0x20 | 0x80 | 0x200  # inspect.CO_GENERATOR, CO_COROUTINE, CO_ASYNC_GENERATOR
_KERNEL = os.path.dirname(os.path.abspath(__file__)) + os.sep
_LIBRARIES = tuple({os.path.join(path, "") for name, path in sysconfig.get_paths().items() if name.endswith("lib")})

# What every exception has, whatever its class says of it.
_traceback = BaseException.__dict__["__traceback__"].__get__
_set_traceback = BaseException.__dict__["__traceback__"].__set__
_cause = BaseException.__dict__["__cause__"].__get__
_context = BaseException.__dict__["__context__"].__get__
_suppresses_context = BaseException.__dict__["__suppress_context__"].__get__


def is_of_interrupt(error: BaseException) -> bool:
    """Whether an interrupt is what ended the code: the error is one, or was raised by code that cleaned up after one.
    With `raise … from` code makes an error of its own out of it."""
    seen: set = set()
    while error is not None and id(error) not in seen:
        kind = type(error)
        if issubclass(kind, KeyboardInterrupt) or kind.__name__ == "CancelledError":
            return True
        seen.add(id(error))
        error = None if _suppresses_context(error) else _context(error)
    return False


def describe(error: BaseException, name: str, sources: Sources) -> dict:
    """The `error` of a `done` frame. `name` is the cell's file name.

    Afterwards the exception is sys.last_value, without the local variables of the frames it passed.
    """
    if issubclass(type(error), MemoryError):
        _forget_locals(error)  # There may be no other memory to describe it with.
    if _is_refusal(error):
        _set_traceback(error, None)  # The compiler refused the cell: no session code was running.
    try:
        described = traceback.TracebackException(type(error), error, _traceback(error), **_COMPACT)
        _tidy(described)
        text = "".join(described.format()).rstrip("\n")
    except BaseException:
        # Session code may have broken what the standard library needs; the essentials need none of it.
        text = _plain_text(error)
    frames = _frames(_traceback(error), sources)
    line, column = _position(error, name)
    _forget_locals(error)
    sys.last_type, sys.last_value, sys.last_traceback = type(error), error, _traceback(error)
    if _HAS_LAST_EXC:
        sys.last_exc = error
    return {
        "type": _cut(type_name(type(error)), _NAME_CHARS),
        "message": _cut(_message(error), _MESSAGE_CHARS),
        "traceback": _cut(text, _TEXT_CHARS),
        "line": line,
        "column": column,
        "frames": frames,
    }


def describe_barely(kind: type, message: str = "") -> dict:
    """The `error` of a `done` frame from the exception's class alone, without running its code: when describing it
    failed."""
    name = _cut(type_name(kind), _NAME_CHARS)
    return {"type": name, "message": message, "traceback": name, "line": None, "column": None, "frames": []}


def _message(error: BaseException) -> str:
    try:
        message = str(error)
    except BaseException as raised:
        return f"<its text could not be made: {type_name(type(raised))}>"
    return message if type(message) is str else str.__str__(message)


def _cut(text: str, limit: int) -> str:
    """Head and tail of a long text."""
    if len(text) <= limit:
        return text
    half = limit // 2
    return f"{text[:half]}\n… [{len(text) - 2 * half} characters are left out] …\n{text[-half:]}"


def _is_refusal(error: BaseException) -> bool:
    """Whether an error comes from the compiling of the cell: it has passed no session code."""
    return issubclass(type(error), SyntaxError) and next(_walk(_traceback(error)), None) is None


def _tidy(described) -> None:
    """Removes the kernel's frames from a described exception and those chained to it, and shortens long stacks."""
    seen: set = set()
    waiting = [described]
    while waiting:
        current = waiting.pop()
        if current is None or id(current) in seen:
            continue
        seen.add(id(current))
        if current.stack is not None:
            kept = [frame for frame in current.stack if not frame.filename.startswith(_KERNEL)]
            if len(kept) > _STACK:
                kept = _shortened(kept)
            current.stack[:] = kept
        waiting.append(current.__cause__)
        waiting.append(current.__context__)
        waiting.extend(getattr(current, "exceptions", None) or [])


def _shortened(frames: list) -> list:
    """Repeated frames are folded by Python itself; a long stack of different ones loses its middle."""
    distinct = {(frame.filename, frame.lineno, frame.name) for frame in frames}
    if len(distinct) <= 3:
        return frames
    half = _STACK // 2
    omitted = len(frames) - 2 * half
    gap = traceback.FrameSummary(f"… {omitted} frames are left out …", 0, "…", lookup_line=False, line="")
    return [*frames[:half], gap, *frames[-half:]]


def _walk(error_traceback):
    """Frames and lines of a traceback that are not the kernel's."""
    while error_traceback is not None:
        frame = error_traceback.tb_frame
        if not frame.f_code.co_filename.startswith(_KERNEL):
            yield frame.f_code, error_traceback
        error_traceback = error_traceback.tb_next


def _frames(error_traceback, sources: Sources) -> list[dict]:
    """The frames in session code: cells, and files outside the interpreter's libraries."""
    found = []
    for code, entry in _walk(error_traceback):
        file = code.co_filename
        execution = execution_of(file)
        if execution is None and (file.startswith("<") or file.startswith(_LIBRARIES)):
            continue
        found.append((execution or file, code, file, entry.tb_lineno))
        if len(found) > 2 * _FRAMES:
            del found[_FRAMES // 2 : _FRAMES // 2 + _FRAMES]
    if len(found) > _FRAMES:
        found = [*found[: _FRAMES // 2], *found[-_FRAMES // 2 :]]
    return [
        {"source": source, "function": code.co_name, "line": line or 0, "text": _line(file, line, sources)}
        for source, code, file, line in found
    ]


def _line(file: str, number, sources: Sources) -> str:
    lines = sources.lines(file)
    if lines is None:
        try:
            text = linecache.getline(file, number or 0)
        except Exception:
            text = ""
    else:
        text = lines[number - 1] if number and 0 < number <= len(lines) else ""
    return text.strip()[:_LINE_CHARS]


def _position(error: BaseException, name: str) -> tuple:
    """Line and column, from one, where the error left this cell's code; None where it has no place there."""
    if issubclass(type(error), SyntaxError) and error.filename == name and _is_place(error.lineno):
        return error.lineno, error.offset if _is_place(error.offset) else None
    if _is_refusal(error):
        return None, None
    position = (None, None)
    for code, entry in _walk(_traceback(error)):
        if code.co_filename == name:
            position = (entry.tb_lineno, _column(code, entry, name))
    if position[0] is None and type(_cause(error)) is StopIteration:
        # A coroutine cannot raise it: Python has put another error in its place.
        return _position(_cause(error), name)
    return position


def _is_place(number) -> bool:
    return type(number) is int and 0 < number < _LAST_LINE


def _column(code, entry, name: str):
    """One-based column of the instruction that raised, where the interpreter knows it (3.11 and newer)."""
    if not hasattr(code, "co_positions"):
        return None
    try:
        line, _, offset, _ = next(islice(code.co_positions(), entry.tb_lasti // 2, None))
        if offset is None or line is None:
            return None
        text = linecache.getline(name, line).encode("utf-8", "surrogatepass")
        return len(text[:offset].decode("utf-8", "replace")) + 1
    except Exception:
        return None


def _plain_text(error: BaseException) -> str:
    lines = ["Traceback (most recent call last):"]
    for code, entry in _walk(_traceback(error)):
        lines.append(f'  File "{code.co_filename}", line {entry.tb_lineno}, in {code.co_name}')
    del lines[_STACK:]
    message = _message(error)
    lines.append(type_name(type(error)) + (f": {message}" if message else ""))
    return "\n".join(lines)


def _forget_locals(error: BaseException) -> None:
    """Clears the local variables of the frames that an exception and those chained to it hold."""
    seen: set = set()
    waiting = [error]
    while waiting and len(seen) < 1000:
        current = waiting.pop()
        if current is None or id(current) in seen:
            continue
        seen.add(id(current))
        entry = _traceback(current)
        while entry is not None:
            if not _waits(entry):
                try:
                    entry.tb_frame.clear()
                except RuntimeError:
                    pass  # Still running: a frame below the cell.
            entry = entry.tb_next
        waiting += [_cause(current), _context(current)]
        if type(getattr(current, "exceptions", None)) is tuple:
            waiting.extend([part for part in current.exceptions if isinstance(part, BaseException)])


def _waits(entry) -> bool:
    """Whether a traceback's frame is that of a generator or a coroutine which went on and waits: clearing it would end
    it."""
    frame = entry.tb_frame
    return bool(frame.f_code.co_flags & _SUSPENDABLE) and frame.f_lasti != entry.tb_lasti
