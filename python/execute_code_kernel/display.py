"""Values as mime bundles: a bounded text, and what rich representations the type defines."""

from __future__ import annotations

from .private import builtins as __builtins__

import sys
from binascii import b2a_base64
from io import BytesIO

from .frames import jsonable
from .previews import lookup, type_name

RESULT_CHARS = 20_000
_PART_CHARS = 16 * 1024 * 1024
_BUNDLE_CHARS = 24 * 1024 * 1024

# Built-in types have no representations beyond their text.
_PLAIN = frozenset((bool, int, float, complex, str, bytes, list, tuple, dict, set, frozenset))

_REPRESENTATIONS = (
    ("_repr_html_", "text/html"),
    ("_repr_markdown_", "text/markdown"),
    ("_repr_svg_", "image/svg+xml"),
    ("_repr_png_", "image/png"),
    ("_repr_jpeg_", "image/jpeg"),
    ("_repr_json_", "application/json"),
    ("_repr_latex_", "text/latex"),
)


def result(value) -> dict:
    """The `result` of a `done` frame. Raises KeyboardInterrupt only."""
    mime = bundle(value)
    return {"text": mime["text/plain"], "mime": mime}


def bundle(value) -> dict:
    """A value's mime bundle; always with text/plain. A representation that fails is left out."""
    mime = {"text/plain": text(value)}
    kind = type(value)
    if kind in _PLAIN:
        return mime
    own = _call(value, kind, "_repr_mimebundle_", include=None, exclude=None)
    if type(own) is tuple and own:
        own = own[0]
    if issubclass(type(own), dict):
        mime.update({key if type(key) is str else repr(key): _content(part) for key, part in dict.items(own)})
        mime["text/plain"] = shorten(mime["text/plain"]) if type(mime["text/plain"]) is str else text(value)
    for method, mime_type in _REPRESENTATIONS:
        if mime_type in mime:
            continue
        part = _call(value, kind, method)
        if type(part) is tuple and part:
            part = part[0]
        if part is not None:
            mime[mime_type] = _content(part)
    return _bounded(mime)


def _content(part):
    if type(part) in (bytes, bytearray, memoryview):
        return b2a_base64(part, newline=False).decode("ascii")
    return str.__str__(part) if issubclass(type(part), str) else jsonable(part)


def _call(value, kind: type, name: str, **arguments):
    """The answer of a representation method that the type itself defines, or None."""
    if lookup(kind, name) is None:
        return None
    try:
        return getattr(value, name)(**arguments)
    except KeyboardInterrupt:
        raise
    except BaseException:
        return None


def _bounded(mime: dict) -> dict:
    """Leaves out parts that no frame could carry, and says so in the text."""
    total = 0
    for mime_type in list(mime):
        part = mime[mime_type]
        size = len(part) if type(part) is str else len(repr(part))
        total += size
        if mime_type != "text/plain" and (size > _PART_CHARS or total > _BUNDLE_CHARS):
            del mime[mime_type]
            total -= size
            mime["text/plain"] += f"\n[{mime_type} of {size} characters is too large to keep]"
    return mime


def text(value, limit: int = RESULT_CHARS) -> str:
    """`repr(value)`, cut to the limit with a note. Large built-in containers are not written out further than that."""
    parts: list = []
    try:
        _write(value, parts, [limit], set())
    except _Full:
        return _cut("".join(parts), limit, None)
    except KeyboardInterrupt:
        raise
    except BaseException as error:
        return _placeholder(value, error)
    return "".join(parts)


def shorten(written: str, limit: int = RESULT_CHARS) -> str:
    return written if len(written) <= limit else _cut(written, limit, len(written))


def _cut(written: str, limit: int, length) -> str:
    rest = "" if length is None else f": {length - limit} of {length} characters"
    return f"{written[:limit]}… [the rest is left out{rest}]"


def _placeholder(value, error: BaseException) -> str:
    kind = type_name(type(value))
    name = type_name(type(error))
    try:
        said = str(error)
    except Exception:
        said = ""
    said = f": {said[:200]}" if said else ""
    return f"<{kind} object; its __repr__ raised {name}{said}>"


class _Full(Exception):
    """The limit is reached."""


_BRACKETS = {list: ("[", "]"), tuple: ("(", ")"), set: ("{", "}"), frozenset: ("frozenset({", "})"), dict: ("{", "}")}


def _write(value, parts: list, room: list, above: set) -> None:
    """Writes the repr of exact built-in containers piece by piece, so that a huge one costs no more than the limit."""
    kind = type(value)
    if kind not in _BRACKETS or (not value and kind in (set, frozenset)):
        if kind in (str, bytes) and len(value) > room[0]:
            _append(repr(value[: room[0]]), parts, [len(value) * 10])
            raise _Full
        if kind is int and value.bit_length() > 4 * RESULT_CHARS:
            _append(hex(value), parts, room)
            return
        written = repr(value)
        if type(written) is not str:
            written = str.__str__(written)
        _append(written, parts, room)
        return
    if id(value) in above:
        _append({dict: "{...}", list: "[...]"}.get(kind, "(...)"), parts, room)
        return
    opening, closing = _BRACKETS[kind]
    above.add(id(value))
    _append(opening, parts, room)
    first = True
    for item in value.items() if kind is dict else value:
        if not first:
            _append(", ", parts, room)
        first = False
        if kind is dict:
            _write(item[0], parts, room, above)
            _append(": ", parts, room)
            _write(item[1], parts, room, above)
        else:
            _write(item, parts, room, above)
    _append(",)" if kind is tuple and len(value) == 1 else closing, parts, room)
    above.discard(id(value))


def _append(written: str, parts: list, room: list) -> None:
    parts.append(written)
    room[0] -= len(written)
    if room[0] < 0:
        raise _Full


def figures() -> list[dict]:
    """The open matplotlib figures as mime bundles, closed; empty when the session has not imported pyplot."""
    pyplot = sys.modules.get("matplotlib.pyplot")
    if pyplot is None:
        return []
    shown = []
    for number in pyplot.get_fignums():
        figure = pyplot.figure(number)
        width, height = figure.get_size_inches()
        image = BytesIO()
        try:
            figure.savefig(image, format="png", bbox_inches="tight")
            part = {
                "text/plain": f"<Figure {width:g}×{height:g} in, {len(figure.axes)} axes>",
                "image/png": b2a_base64(image.getvalue(), newline=False).decode("ascii"),
            }
        except Exception as error:
            part = {"text/plain": f"<Figure that could not be drawn: {type(error).__name__}: {error}>"}
        finally:
            pyplot.close(figure)
        shown.append(part)
    return shown
