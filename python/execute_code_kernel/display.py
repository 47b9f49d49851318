"""Values as mime bundles: a bounded text, and what rich representations there are.

The protocol is IPython's. A value's bundle comes from the first of these that has one:

    1. a format registered for its type                 register(), for libraries that need other than they offer
    2. `_repr_mimebundle_`                              with whatever the methods below add
    3. `_ipython_display_`                              the value shows itself, and there is no bundle
    4. `_repr_html_`, `_repr_png_` and their like

A method counts when the type or the instance defines it; what `__getattr__` makes up does not, and classes have a
text only. A method that fails, and a part that is not of its mime type, are left out.
"""

from __future__ import annotations

from .private import builtins as __builtins__

from binascii import a2b_base64, b2a_base64
from types import CodeType

from .frames import FrameError, decode_json, jsonable
from .previews import instance_dict, is_type, lookup, type_name

RESULT_CHARS = 20_000
_PART_CHARS = 16 * 1024 * 1024
_BUNDLE_CHARS = 24 * 1024 * 1024

_type_mro = type.__dict__["__mro__"].__get__
_ACCEPTS_ANY_NAME = 0x08  # inspect.CO_VARKEYWORDS

# Built-in types have no representations beyond their text.
_PLAIN = frozenset((bool, int, float, complex, str, bytes, list, tuple, dict, set, frozenset))

_REPRESENTATIONS = (
    ("_repr_html_", "text/html"),
    ("_repr_markdown_", "text/markdown"),
    ("_repr_svg_", "image/svg+xml"),
    ("_repr_png_", "image/png"),
    ("_repr_jpeg_", "image/jpeg"),
    ("_repr_pdf_", "application/pdf"),
    ("_repr_json_", "application/json"),
    ("_repr_javascript_", "application/javascript"),
    ("_repr_latex_", "text/latex"),
)

_BINARY = ("image/", "audio/", "video/", "application/pdf", "application/octet-stream")
_TEXTUAL = ("text/", "image/svg+xml", "application/javascript", "application/xml")
_JSON_DEPTH = 50
_JSON_ENDINGS = ("/json", "+json", ".json")

_formats: dict = {}
"""What `register` was given, by the identity of the type."""


def register(kind: type, form) -> None:
    """Values of this type and of its subclasses are shown as the bundle that `form(value)` gives; when it gives None
    or fails, as any other value. Without text/plain in the bundle the text is the value's repr."""
    _formats[id(kind)] = (kind, form)


def _is_one(kind: type, types) -> bool:
    """Whether a class is one of these built-in ones. A class with a metaclass is none, and is not asked."""
    return type(kind) is type and kind in types


def result(value) -> dict:
    """The `result` of a `done` frame. Raises KeyboardInterrupt only."""
    mime = bundle(value)
    if mime is None:
        mime = {"text/plain": text(value)}
    return {"text": mime["text/plain"], "mime": mime}


def bundle(value, include=None, exclude=None) -> dict | None:
    """A value's mime bundle, bounded, always with text/plain; None when the value has shown itself.

    With `include` it has no other mime types than these and text/plain, with `exclude` none of those; text/plain goes
    only when it is excluded and something is left. Raises KeyboardInterrupt only.
    """
    kind = type(value)
    if _is_one(kind, _PLAIN) or is_type(value):
        return {"text/plain": text(value)}
    wanted = _Wanted(include, exclude)
    mime = _registered(value, kind)
    if mime is None:
        mime = _parts(_answer(value, kind, "_repr_mimebundle_", include=include, exclude=exclude))
        if not _is_rich(mime) and _shows_itself(value, kind):
            return None
        for method, mime_type in _REPRESENTATIONS:
            if mime_type not in mime and wanted.has(mime_type):
                part = _part(mime_type, _answer(value, kind, method))
                if part is not None:
                    mime[mime_type] = part
    if "text/plain" not in mime:
        mime = {"text/plain": text(value), **mime}
    return _bounded(wanted.of(mime))


def raw(data, include=None, exclude=None) -> dict | None:
    """A bundle that session code made itself, with a text/plain if it has none; None for an empty one. Raises
    TypeError."""
    if not issubclass(type(data), dict):
        raise TypeError(f"a raw display is a dictionary from mime types to data, not {type_name(type(data))}")
    mime = _parts(data)
    if not mime:
        return None
    if "text/plain" not in mime:
        mime = {"text/plain": _html_text(mime) or f"<{', '.join(mime)}>", **mime}
    return _bounded(_Wanted(include, exclude).of(mime))


def _html_text(mime: dict) -> str:
    if "text/html" not in mime:
        return ""
    from .notebook import html_text

    return html_text(mime["text/html"])


class _Wanted:
    """Which mime types somebody asked for."""

    def __init__(self, include, exclude) -> None:
        self._include = _names(include)
        self._exclude = _names(exclude)

    def has(self, mime_type: str) -> bool:
        return (not self._include or mime_type in self._include) and mime_type not in self._exclude

    def of(self, mime: dict) -> dict:
        kept = {mime_type: part for mime_type, part in mime.items() if self.has(mime_type)}
        if "text/plain" in self._exclude and kept:
            return kept
        return {"text/plain": mime["text/plain"], **kept}


def _names(given) -> tuple:
    if given is None:
        return ()
    return (given,) if issubclass(type(given), str) else tuple(given)


def _registered(value, kind: type) -> dict | None:
    for base in _type_mro(kind):
        if id(base) in _formats:
            try:
                made = _formats[id(base)][1](value)
            except KeyboardInterrupt:
                raise
            except BaseException:
                return None
            return None if made is None else _parts(made)
    return None


def _is_rich(mime: dict) -> bool:
    return any([mime_type != "text/plain" for mime_type in mime])


def _shows_itself(value, kind: type) -> bool:
    """Lets a value that can display itself do so; tells whether it has."""
    return _call(value, kind, "_ipython_display_")[0]


def _answer(value, kind: type, name: str, **arguments):
    """What a representation method gives, without its metadata, or None."""
    _, answer = _call(value, kind, name, **arguments)
    return answer[0] if type(answer) is tuple and len(answer) == 2 else answer


def _call(value, kind: type, name: str, **arguments) -> tuple:
    """Whether a method is there and succeeds, and what it gives."""
    try:
        if lookup(kind, name) is None and name not in (instance_dict(value) or ()):
            return False, None
        method = getattr(value, name)
        return True, method(**_accepted(method, arguments))
    except KeyboardInterrupt:
        raise
    except BaseException:
        return False, None


def _accepted(method, arguments: dict) -> dict:
    """Those of the arguments that a method written in Python takes; the protocol's are often left out."""
    code = getattr(getattr(method, "__func__", method), "__code__", None) if arguments else None
    if type(code) is not CodeType or code.co_flags & _ACCEPTS_ANY_NAME:
        return arguments
    names = code.co_varnames[: code.co_argcount + code.co_kwonlyargcount]
    return {name: value for name, value in arguments.items() if name in names}


# ── parts ───────────────────────────────────────────────────────────────────────────────────────────────────────


def _parts(data) -> dict:
    """What a bundle of session code holds, as a frame carries it."""
    parts: dict = {}
    if not issubclass(type(data), dict):
        return parts
    for key, value in list(dict.items(data)):
        if issubclass(type(key), str):
            mime_type = str.__str__(key)
            part = _part(mime_type, value)
            if part is not None:
                parts[mime_type] = part
    return parts


def _part(mime_type: str, value):
    """One representation as a frame carries it: text, base64 of binary types, JSON values. None when it is none of
    its mime type."""
    try:
        if issubclass(type(value), str):
            value = str.__str__(value)
        elif issubclass(type(value), (bytes, bytearray, memoryview)):
            value = b"".join((value,))
        if mime_type.endswith(_JSON_ENDINGS):
            return _json(value)
        if mime_type.startswith(_TEXTUAL):
            return value.decode("utf-8") if type(value) is bytes else value if type(value) is str else None
        if type(value) is bytes:
            return b2a_base64(value, newline=False).decode("ascii") or None
        if mime_type.startswith(_BINARY):
            return (_base64(value) or None) if type(value) is str else None
        return _json(value)
    except (ValueError, BufferError, RecursionError):
        return None


def _base64(given: str) -> str:
    """Base64 without line breaks. Raises ValueError when it is none."""
    given = "".join(given.split())
    if b2a_base64(a2b_base64(given), newline=False).decode("ascii") != given:
        raise ValueError("not base64")
    return given


def _json(value):
    """A JSON value; JSON text of an object or an array is read. None for what is no JSON."""
    if type(value) is bytes:
        value = value.decode("utf-8")
    if type(value) is str and value.lstrip()[:1] in ("{", "["):
        try:
            return decode_json(value)
        except FrameError:
            return value
    if issubclass(type(value), (dict, list, tuple, str, int, float)):
        return jsonable(_exact(value))
    return None


def _exact(value, depth: int = _JSON_DEPTH):
    """The value with plain dictionaries and lists in place of subclasses of these."""
    kind = type(value)
    if depth > 0 and issubclass(kind, dict):
        return {key: _exact(item, depth - 1) for key, item in dict.items(value)}
    if depth > 0 and issubclass(kind, (list, tuple)):
        items = list.__iter__(value) if issubclass(kind, list) else tuple.__iter__(value)
        return [_exact(item, depth - 1) for item in items]
    return value


def _bounded(mime: dict) -> dict:
    """Cuts the text, leaves out parts that no frame could carry, and says so in the text."""
    total = 0
    notes = []
    for mime_type in list(mime):
        part = mime[mime_type]
        if mime_type == "text/plain":
            mime[mime_type] = part = shorten(part)
        size = len(part) if type(part) is str else len(repr(part))
        total += size
        if mime_type != "text/plain" and (size > _PART_CHARS or total > _BUNDLE_CHARS):
            del mime[mime_type]
            total -= size
            notes.append(f"[{mime_type} of {size} characters is too large to keep]")
    if notes:
        mime["text/plain"] = "\n".join([mime.get("text/plain", ""), *notes]).lstrip("\n")
    return mime


# ── texts ───────────────────────────────────────────────────────────────────────────────────────────────────────


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
    return f"<{type_name(type(value))} object; its __repr__ raised {error_text(error)}>"


def error_text(error: BaseException) -> str:
    """An exception's type and the beginning of what it says. Raises KeyboardInterrupt only."""
    try:
        said = str.__str__(str(error))
    except KeyboardInterrupt:
        raise
    except BaseException:
        said = ""
    return type_name(type(error)) + (f": {said[:200]}" if said else "")


class _Full(Exception):
    """The limit is reached."""


_BRACKETS = {
    list: ("[", "]"),
    tuple: ("(", ")"),
    set: ("{", "}"),
    frozenset: ("frozenset({", "})"),
    dict: ("{", "}"),
}


def _write(value, parts: list, room: list, above: set) -> None:
    """Writes the repr of exact built-in containers piece by piece, so that a huge one costs no more than the limit."""
    kind = type(value)
    if not _is_one(kind, _BRACKETS) or (not value and (kind is set or kind is frozenset)):
        if (kind is str or kind is bytes) and len(value) > room[0]:
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
