"""The codec of the kernel protocol: a four-byte big-endian length, then that many bytes of ASCII JSON.

Every frame that is written can be read by JavaScript's ``JSON.parse``: what JSON cannot hold is replaced (NaN and
infinities by null, bytes by base64, other objects by a note), never refused. Lone surrogates travel as escapes.
"""

from __future__ import annotations

from .private import builtins as __builtins__

from binascii import b2a_base64
from json.decoder import JSONDecoder
from json.encoder import c_make_encoder, encode_basestring_ascii

FRAME_BYTES = 32 * 1024 * 1024
"""The bound of one frame's JSON."""

_HEADER = 4
_DEPTH = 50
_from_bytes = int.from_bytes


class FrameError(Exception):
    """Bytes that are no frame, or a frame beyond the bound. What carried them cannot be trusted further."""


def _refuse(value):
    raise ValueError("not JSON")


# The C encoder and scanner themselves: session code that patches `json` does not reach them.
_encode_strict = c_make_encoder(None, _refuse, encode_basestring_ascii, None, ":", ",", False, False, False)
_scan = JSONDecoder(parse_constant=_refuse).scan_once


def encode_json(value):
    """ASCII JSON of any value."""
    try:
        return "".join(_encode_strict(value, 0))
    except (ValueError, TypeError, RecursionError):
        return "".join(_encode_strict(jsonable(value), 0))


def jsonable(value, depth=_DEPTH):
    """The value with everything replaced that JSON cannot hold. Runs no code of the value's type."""
    kind = type(value)
    if value is None or kind is bool or kind is str:
        return value
    if kind is int:
        # Beyond this a JavaScript number is infinite, and Python may refuse to write the digits.
        return value if value.bit_length() <= 1023 else hex(value)
    if kind is float:
        return value if value - value == 0.0 else None
    if kind is bytes or kind is bytearray:
        return b2a_base64(value, newline=False).decode("ascii")
    if depth > 0:
        if kind is dict:
            return {_key(key): jsonable(item, depth - 1) for key, item in value.items()}
        if kind in (list, tuple, set, frozenset):
            return [jsonable(item, depth - 1) for item in value]
    if issubclass(kind, str):
        return str.__str__(value)
    if issubclass(kind, int):
        return jsonable(int.__int__(value))
    if issubclass(kind, float):
        return jsonable(float.__float__(value))
    return f"<{kind.__name__}>"


def _key(key):
    kind = type(key)
    if kind is str:
        return key
    if kind is bool or key is None:
        return {True: "true", False: "false", None: "null"}[key]
    if kind is int:
        return str(jsonable(key))
    if kind in (float, bytes):
        return repr(key)
    if kind is tuple:
        return "(" + ", ".join([_key(item) for item in key]) + ")"
    return str(jsonable(key, 0))


def encode(frame):
    """The bytes of one frame. Raises FrameError beyond FRAME_BYTES."""
    body = encode_json(frame).encode("ascii")
    if len(body) > FRAME_BYTES:
        raise FrameError(f"a frame of {len(body)} bytes exceeds {FRAME_BYTES}")
    return len(body).to_bytes(_HEADER, "big") + body


def decode_json(text):
    """The value of a JSON text. Raises FrameError."""
    text = text.strip(" \t\r\n")
    try:
        value, end = _scan(text, 0)
    except (StopIteration, ValueError, RecursionError):
        raise FrameError("a frame is not JSON") from None
    if end != len(text):
        raise FrameError("a frame is followed by more text")
    return value


def _decode(body):
    try:
        text = body.decode("utf-8")
    except UnicodeDecodeError:
        raise FrameError("a frame is not UTF-8") from None
    frame = decode_json(text)
    if type(frame) is not dict or type(frame.get("type")) is not str:
        raise FrameError("a frame is not an object with a type")
    return frame


class FrameReader:
    """Cuts a byte stream into frames."""

    def __init__(self):
        self._buffer = bytearray()

    def feed(self, data):
        """The frames that are complete with these bytes. Raises FrameError."""
        buffer = self._buffer
        if not buffer and _HEADER <= len(data) <= FRAME_BYTES:
            # As a rule one frame comes at a time, and whole.
            if _from_bytes(data[:_HEADER], "big") == len(data) - _HEADER:
                return [_decode(data[_HEADER:])]
        buffer += data
        frames = []
        start = 0
        while len(buffer) - start >= _HEADER:
            size = _from_bytes(buffer[start : start + _HEADER], "big")
            if size > FRAME_BYTES:
                raise FrameError(f"a frame of {size} bytes exceeds {FRAME_BYTES}")
            end = start + _HEADER + size
            if len(buffer) < end:
                break
            frames.append(_decode(buffer[start + _HEADER : end]))
            start = end
        del buffer[:start]
        return frames
