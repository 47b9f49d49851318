"""Open files: path, mode and position.

A file that is read is opened again when it still is the same: device, inode, size, time of change. One that is written
is opened again at its position, and never emptied, when everything written to it had reached it and it has not become
smaller. All else is lost: pipes, sockets, terminals, deleted files.
"""

from __future__ import annotations

from ..private import builtins as __builtins__

import gc
import io
import os
import stat

from ..previews import instance_dict
from .reasons import Refused

_RAW, _READER, _WRITER, _RANDOM = io.FileIO, io.BufferedReader, io.BufferedWriter, io.BufferedRandom


def recipe_for(kind: type):
    return _file if any([kind is one for one in (_RAW, _READER, _WRITER, _RANDOM, io.TextIOWrapper)]) else None


def state_of_file(path, descriptor=None) -> tuple:
    """Device and inode, size and time of an ordinary file. Raises Refused when it is none, or not at this path."""
    try:
        found = os.stat(path)
        opened = found if descriptor is None else os.fstat(descriptor)
    except OSError:
        raise Refused("a file that is not at its path any more cannot be captured") from None
    if not stat.S_ISREG(found.st_mode):
        raise Refused("an open pipe, terminal or device cannot be captured")
    if (found.st_dev, found.st_ino) != (opened.st_dev, opened.st_ino):
        raise Refused("a file that is not at its path any more cannot be captured")
    return (found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns)


def same_file(path, state) -> None:
    """Raises Refused when the file is another one, or was changed where `state` has size and time, too."""
    try:
        found = state_of_file(path)
    except Refused:
        raise Refused("its file is not there any more") from None
    if found[: len(state)] != tuple(state):
        raise Refused("its file was changed or replaced since")


def _file(pickler, value):
    kind = type(value)
    if value.closed:
        raise Refused("a closed file cannot be captured")
    buffer = value.buffer if kind is io.TextIOWrapper else value
    raw = buffer if type(buffer) is _RAW else buffer.raw if type(buffer) in (_READER, _WRITER, _RANDOM) else None
    if type(raw) is not _RAW:
        raise Refused("an open stream cannot be captured")
    path = raw.name
    if type(path) not in (str, bytes):
        raise Refused("a file that has no path cannot be captured")
    try:
        descriptor = raw.fileno()
        state = state_of_file(path, descriptor)
        # The process that captures shares the file's position with the session: it must stay where it is.
        before = os.lseek(descriptor, 0, os.SEEK_CUR)
        if type(buffer) in (_WRITER, _RANDOM) and buffer.tell() > before:
            raise Refused("an open file with data that is not written yet cannot be captured; flush it")
        text, position = None, None
        if kind is io.TextIOWrapper:
            newline = _newline(value, buffer)
            text = (value.encoding, value.errors, newline, value.line_buffering, value.write_through)
        try:
            position = (buffer if type(buffer) is _WRITER else value).tell()
        finally:
            os.lseek(descriptor, before, os.SEEK_SET)
    except OSError:
        raise Refused("an open file whose position cannot be told cannot be captured") from None
    pickler.notes.add("the file is opened again")
    attributes = dict(instance_dict(value) or {})
    return (open_file, (os.path.abspath(path), path, raw.mode, type(buffer).__name__, text, position, state, attributes))


def _newline(value: io.TextIOWrapper, buffer) -> str | None:
    """How a text stream treats the ends of lines, which only its inner objects know. Raises Refused when it may hold
    text that it has not given to its buffer: nothing but writing it would tell."""
    inner = [one for one in gc.get_referents(value) if one is not value.encoding and one is not value.errors]
    ends = [one for one in inner if type(one) is str]
    if type(buffer) is not _READER:
        if any([type(one) in (bytes, list) for one in inner]) or any(ends):
            raise Refused("an open file that may hold text which is not written yet cannot be captured; flush it")
        if type(buffer) is _WRITER:
            return "" if ends else None
    for decoder in inner:
        if type(decoder) is io.IncrementalNewlineDecoder:
            state = decoder.getstate()
            try:
                decoder.reset()
                return None if decoder.decode("\r\n".encode(value.encoding)) == "\n" else ""
            finally:
                decoder.setstate(state)
    for end in ("\r\n", "\r", "\n"):
        if end in ends:
            return end
    raise Refused("an open file whose ends of lines cannot be told cannot be captured")


def open_file(path, name, mode, kind, text, position, state, attributes):
    writes = "+" in mode or "r" not in mode
    if writes:
        same_file(path, state[:2])
        if os.stat(path).st_size < state[2]:
            raise Refused("its file has become shorter since")
    else:
        same_file(path, state)
    flags = os.O_RDWR if "+" in mode else os.O_RDONLY if not writes else os.O_WRONLY
    if "a" in mode:
        flags |= os.O_APPEND
    # "w" and "x" would empty the file, or refuse it; the opener decides, the mode only names the direction.
    raw = _RAW(path, mode.replace("x", "w"), opener=lambda name, _: os.open(name, flags | os.O_CLOEXEC))
    raw.name = name
    made = raw
    if kind == "BufferedReader":
        made = _READER(raw)
    elif kind == "BufferedWriter":
        made = _WRITER(raw)
    elif kind == "BufferedRandom":
        made = _RANDOM(raw)
    if text is not None:
        made = io.TextIOWrapper(made, *text)
    # Among them the mode that `open` was given.
    vars(made).update(attributes)
    made.seek(position)
    return made


MAKERS = (open_file,)
