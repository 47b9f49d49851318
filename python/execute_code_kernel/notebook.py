"""What stands in for IPython where it is not installed: its display functions and display classes, in a compact form.

Loaded when session code imports IPython and nobody else finds it. The classes take what IPython's take: `data`, which
may also be the path of a file or an address, `filename` and `url`. Files are read; addresses are shown, not fetched.
There is no shell: `get_ipython()` gives None.
"""

from __future__ import annotations

from .private import builtins as __builtins__

import os
from html import escape, unescape
from importlib import import_module

from .api import DisplayHandle as _DisplayHandle
from .libraries import STAND_INS

_TEXT_CHARS = 2_000
_HTML_CHARS = 200_000
"""How much of some HTML is read for its text."""


def fill(module, api) -> None:
    """Gives a module of IPython's name what belongs into it."""
    name = module.__name__
    if name in ("IPython", "IPython.core.getipython"):
        module.get_ipython = get_ipython
    if name == "IPython":
        # Libraries compare it; this version is one that no longer needs their workarounds.
        module.version_info = (9, 0, 0, "")
        module.__version__ = "9.0.0"
    if name.rpartition(".")[2] in ("display", "display_functions"):
        vars(module).update(_functions(api))
    if name.rpartition(".")[2] == "display":
        vars(module).update(_CLASSES)
    if STAND_INS[name]:
        module.__getattr__ = _submodules(name)


def _submodules(package: str):
    """As in IPython, `import IPython` is enough for `IPython.display`."""

    def __getattr__(name):
        if f"{package}.{name}" not in STAND_INS:
            raise AttributeError(f"module {package!r} has no attribute {name!r}; IPython itself is not installed")
        return import_module(f"{package}.{name}")

    return __getattr__


def get_ipython():
    """There is no IPython shell."""
    return None


def _functions(api) -> dict:
    class DisplayHandle(_DisplayHandle):
        def __init__(self, display_id=None) -> None:
            super().__init__(api, api.new_display_id() if display_id is None else display_id)

    functions = {
        "display": api.display,
        "update_display": api.update_display,
        "clear_output": api.clear_output,
        "publish_display_data": api.publish_display_data,
        "DisplayHandle": DisplayHandle,
        "set_matplotlib_formats": _nothing,
        "set_matplotlib_close": _nothing,
    }
    for name, mime_type in _MIME_TYPES.items():
        functions[f"display_{name}"] = _display_as(api, mime_type)
    return functions


def _nothing(*args, **options) -> None:
    """Has no meaning here."""


_MIME_TYPES = {
    "pretty": "text/plain",
    "html": "text/html",
    "markdown": "text/markdown",
    "svg": "image/svg+xml",
    "png": "image/png",
    "jpeg": "image/jpeg",
    "latex": "text/latex",
    "json": "application/json",
    "javascript": "application/javascript",
    "pdf": "application/pdf",
}


def _display_as(api, mime_type: str):
    def display_as(*objects, raw=False, metadata=None, **options):
        if raw:
            objects = [{mime_type: value} for value in objects]
        api.display(*objects, raw=raw, include=[mime_type])

    return display_as


# ── text of HTML ────────────────────────────────────────────────────────────────────────────────────────────────


def html_bundle(html: str) -> dict:
    """HTML with its text."""
    return {"text/plain": html_text(html) or f"<HTML, {len(html)} characters>", "text/html": html}


def html_text(html: str) -> str:
    """What a reader of the HTML would see of its beginning, without the layout."""
    lines = [" ".join(line.split()) for line in unescape("".join(_visible(html[:_HTML_CHARS]))).splitlines()]
    text = "\n".join([line for line in lines if line])
    complete = len(text) <= _TEXT_CHARS and len(html) <= _HTML_CHARS
    return text if complete or not text else text[:_TEXT_CHARS] + "…"


_HIDDEN = frozenset("script style title template noscript".split())
_INLINE = frozenset("a abbr b bdi bdo cite code em font i kbd mark q s samp small span strong sub sup u var".split())


def _visible(html: str):
    """Pieces of text, with white space where tags separate them. Takes time in proportion to the length, whatever the
    HTML is."""
    lower = html.lower() if html.isascii() else html.translate(_LOWER)
    position = 0
    while position < len(html):
        tag = html.find("<", position)
        if tag < 0:
            tag = len(html)
        yield html[position:tag]
        following = html[tag + 1 : tag + 2]
        if not (following.isalpha() or following in ("/", "!", "?")):
            yield html[tag : tag + 1]
            position = tag + 1
            continue
        end = html.find("-->" if html.startswith("<!--", tag) else ">", tag)
        if end < 0:
            return
        name = _tag_name(lower, tag + 1)
        yield "" if name in _INLINE else " " if name in ("td", "th") else "\n"
        if name in _HIDDEN and following != "/":
            end = lower.find(f"</{name}", end)
            if end < 0:
                return
            position = end
        else:
            position = html.find(">", end) + 1


_LOWER = {ord(upper): upper.lower() for upper in "ABCDEFGHIJKLMNOPQRSTUVWXYZ"}
"""Keeps every position, which `str.lower` does not."""


def _tag_name(lower: str, start: int) -> str:
    """The name of the tag that begins there; a closing tag has the same."""
    start += lower.startswith("/", start)
    end = start
    while end < len(lower) and end < start + 16 and lower[end].isalnum():
        end += 1
    return lower[start:end]


# ── display classes ─────────────────────────────────────────────────────────────────────────────────────────────


class DisplayObject:
    """Data of one mime type. Raises what opening the file raises."""

    _binary = False
    metadata: dict = {}

    def __init__(self, data=None, url=None, filename=None, metadata=None) -> None:
        data = os.fspath(data) if isinstance(data, os.PathLike) else data
        if isinstance(data, str) and url is None and data.startswith(("http://", "https://")):
            data, url, filename = None, data, None
        elif isinstance(data, str) and filename is None and _is_file(data):
            data, filename = None, data
        self.data = data
        self.url = url
        self.filename = None if filename is None else os.fspath(filename)
        self.metadata = metadata or {}
        self.reload()
        self._check()

    def reload(self) -> None:
        """Reads the file, if there is one."""
        if self.filename is not None:
            with open(self.filename, "rb") as file:
                data = file.read()
            self.data = data if self._binary else data.decode("utf-8", "replace")

    def _check(self) -> None:
        if self.data is not None and not self._binary and not isinstance(self.data, str):
            raise TypeError(f"{type(self).__name__} expects text, not {type(self.data).__name__}")

    def _repr_mimebundle_(self, include=None, exclude=None) -> dict:
        if self.data is None:
            return {"text/plain": repr(self), **({"text/html": self._link()} if self.url else {})}
        return self._bundle()

    def _link(self) -> str:
        return f'<a href="{escape(self.url)}">{escape(self.url)}</a>'

    def _bundle(self) -> dict:
        return {"text/plain": self.data}

    def __repr__(self) -> str:
        name = type(self).__name__
        if self.data is None:
            return f"<{name} {self.url}>" if self.url else f"<{name}>"
        return f"<{name}, {len(self.data)} {'bytes' if self._binary else 'characters'}>"


def _is_file(data: str) -> bool:
    try:
        return os.path.isfile(data)
    except (OSError, ValueError):
        return False


class TextDisplayObject(DisplayObject):
    """Text that is shown as such."""


class Pretty(TextDisplayObject):
    def _repr_pretty_(self, printer, cycle) -> None:
        printer.text(self.data)


class HTML(TextDisplayObject):
    def _repr_html_(self):
        return self.data

    __html__ = _repr_html_

    def _bundle(self) -> dict:
        return html_bundle(self._repr_html_())


class Markdown(TextDisplayObject):
    def _repr_markdown_(self):
        return self.data

    def _bundle(self) -> dict:
        return {"text/plain": self.data, "text/markdown": self.data}


class Latex(TextDisplayObject):
    def _repr_latex_(self):
        return self.data

    def _bundle(self) -> dict:
        return {"text/plain": self.data, "text/latex": self._repr_latex_()}


class Math(Latex):
    def _repr_latex_(self):
        return rf"$\displaystyle {self.data.strip('$')}$"


class SVG(DisplayObject):
    def _check(self) -> None:
        if isinstance(self.data, bytes):
            self.data = self.data.decode("utf-8", "replace")
        super()._check()
        if self.data is not None:
            # Without the XML declaration, which HTML does not have.
            self.data = self.data[max(self.data.find("<svg"), 0) :]

    def _repr_svg_(self):
        return self.data

    def _bundle(self) -> dict:
        return {"text/plain": repr(self), "image/svg+xml": self.data}

    def _link(self) -> str:
        return f'<img src="{escape(self.url)}"/>'


class JSON(DisplayObject):
    """A JSON value: a dictionary, a list, or the text of one."""

    _mime_type = "application/json"

    def __init__(
        self, data=None, url=None, filename=None, expanded=False, metadata=None, root="root", **options
    ) -> None:
        super().__init__(data, url, filename, {"expanded": expanded, "root": root, **(metadata or {}), **options})

    def _check(self) -> None:
        if isinstance(self.data, str):
            import json

            self.data = json.loads(self.data)
        if self.data is not None and not isinstance(self.data, (dict, list)):
            raise TypeError(f"{type(self).__name__} expects a JSON object or array, not {type(self.data).__name__}")

    def _repr_json_(self):
        return self.data, self.metadata

    def _bundle(self) -> dict:
        return {"text/plain": repr(self), self._mime_type: self.data}

    def __repr__(self) -> str:
        return super().__repr__() if self.data is None else f"<{type(self).__name__}, {len(self.data)} items>"


class GeoJSON(JSON):
    _mime_type = "application/geo+json"


class Javascript(TextDisplayObject):
    """A script. It is kept; nothing runs it."""

    def __init__(self, data=None, url=None, filename=None, lib=None, css=None) -> None:
        super().__init__(data, url, filename)

    def _repr_javascript_(self):
        return self.data

    def _bundle(self) -> dict:
        return {"text/plain": repr(self), "application/javascript": self.data}


class Code(TextDisplayObject):
    """Source text."""

    def __init__(self, data=None, url=None, filename=None, language=None) -> None:
        self.language = language
        super().__init__(data, url, filename)

    def _repr_html_(self):
        language = f' class="language-{escape(self.language)}"' if self.language else ""
        return f"<pre><code{language}>{escape(self.data)}</code></pre>"

    def _bundle(self) -> dict:
        return {"text/plain": self.data, "text/html": self._repr_html_()}

    def __repr__(self) -> str:
        return super().__repr__() if self.data is None else self.data


class _Media(DisplayObject):
    """Bytes of a type that is known by `mimetype`, by the file's name or by the bytes."""

    _binary = True
    _default = "application/octet-stream"

    def _check(self) -> None:
        if isinstance(self.data, str):
            raise FileNotFoundError(f"There is no file {self.data!r}")
        if isinstance(self.data, (bytearray, memoryview)):
            self.data = bytes(self.data)
        if self.data is not None and not isinstance(self.data, bytes):
            raise TypeError(
                f"{type(self).__name__} expects bytes, a path or an address, not {type(self.data).__name__}"
            )

    def _type(self) -> str:
        if getattr(self, "mimetype", None):
            return self.mimetype
        if self.filename is not None:
            from mimetypes import guess_type

            guessed = guess_type(self.filename)[0]
            if guessed is not None:
                return guessed
        return self._default

    def _attributes(self) -> str:
        sizes = [(name, getattr(self, name, None)) for name in ("width", "height", "alt")]
        return "".join([f' {name}="{escape(str(value))}"' for name, value in sizes if value is not None])

    def _bundle(self) -> dict:
        return {"text/plain": repr(self), self._type(): self.data}


_SIGNATURES = ((b"\x89PNG\r\n\x1a\n", "png"), (b"\xff\xd8\xff", "jpeg"), (b"GIF8", "gif"), (b"BM", "bmp"))


class Image(_Media):
    """A picture: PNG, JPEG, GIF, WebP, or SVG from a file."""

    def __init__(
        self,
        data=None,
        url=None,
        filename=None,
        format=None,
        embed=None,
        width=None,
        height=None,
        retina=False,
        unconfined=False,
        metadata=None,
        alt=None,
    ) -> None:
        self.format = None if format is None else {"jpg": "jpeg", "svg": "svg+xml"}.get(format.lower(), format.lower())
        self.width, self.height, self.alt = width, height, alt
        super().__init__(data, url, filename, metadata)

    def _type(self) -> str:
        for signature, name in _SIGNATURES:
            if self.data.startswith(signature):
                return f"image/{name}"
        if self.data[:4] == b"RIFF" and self.data[8:12] == b"WEBP":
            return "image/webp"
        if self.data.lstrip()[:5] in (b"<?xml", b"<svg "):
            return "image/svg+xml"
        return f"image/{self.format or 'png'}"

    def _link(self) -> str:
        return f'<img src="{escape(self.url)}"{self._attributes()}/>'

    def _repr_png_(self):
        return self.data if self.data is not None and self._type() == "image/png" else None

    def _repr_jpeg_(self):
        return self.data if self.data is not None and self._type() == "image/jpeg" else None

    def __repr__(self) -> str:
        if self.data is None:
            return super().__repr__()
        size = ""
        if self._type() == "image/png" and len(self.data) >= 24:
            size = " {}×{}".format(*[int.from_bytes(self.data[at : at + 4], "big") for at in (16, 20)])
        return f"<Image {self._type().partition('/')[2]}{size}, {len(self.data)} bytes>"


class Video(_Media):
    _default = "video/mp4"

    def __init__(
        self,
        data=None,
        url=None,
        filename=None,
        embed=False,
        mimetype=None,
        width=None,
        height=None,
        html_attributes="controls",
    ) -> None:
        self.mimetype, self.width, self.height = mimetype, width, height
        super().__init__(data, url, filename)

    def _link(self) -> str:
        return f'<video controls src="{escape(self.url)}"{self._attributes()}></video>'


class Audio(_Media):
    """Sound: a file's bytes, or numbers with their `rate` a second, for which a WAV file is made."""

    _default = "audio/wav"

    def __init__(
        self, data=None, filename=None, url=None, embed=None, rate=None, autoplay=False, normalize=True, element_id=None
    ) -> None:
        if data is not None and not isinstance(data, (str, bytes, bytearray, memoryview, os.PathLike)):
            if rate is None:
                raise ValueError("rate must be specified when data is a numpy array or list of audio samples.")
            data = _wave(data, rate, normalize)
        super().__init__(data, url, filename)

    def _link(self) -> str:
        return f'<audio controls src="{escape(self.url)}"></audio>'


def _wave(samples, rate: int, normalize: bool) -> bytes:
    """A WAV file of numbers, or of a row of numbers for each channel. Raises ValueError for others."""
    import io
    import sys
    import wave
    from array import array

    rows = samples.tolist() if hasattr(samples, "tolist") else list(samples)
    rows = [list(row) for row in rows] if rows and hasattr(rows[0], "__len__") else [rows]
    if len({len(row) for row in rows}) != 1:
        raise ValueError("The channels differ in their numbers of samples.")
    peak = max([abs(sample) for row in rows for sample in row], default=0)
    if not normalize and peak > 1:
        raise ValueError("Audio data must be between -1 and 1 when normalize=False.")
    scale = 32767 / ((peak or 1) if normalize else 1)
    frames = array("h", [int(sample * scale) for moment in zip(*rows) for sample in moment])
    if sys.byteorder == "big":
        frames.byteswap()
    written = io.BytesIO()
    with wave.open(written, "wb") as file:
        file.setnchannels(len(rows))
        file.setframerate(int(rate))
        file.setsampwidth(2)
        file.writeframes(frames.tobytes())
    return written.getvalue()


class IFrame:
    """A page inside the page."""

    def __init__(self, src, width, height, extras=None, **parameters) -> None:
        self.src, self.width, self.height = src, width, height
        self.extras, self.params = extras or [], parameters

    def _repr_html_(self) -> str:
        from urllib.parse import urlencode

        source = f"{self.src}?{urlencode(self.params)}" if self.params else str(self.src)
        extras = "".join([f" {extra}" for extra in self.extras])
        size = f'width="{escape(str(self.width))}" height="{escape(str(self.height))}"'
        return f'<iframe {size} src="{escape(source)}" frameborder="0" allowfullscreen{extras}></iframe>'

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.src}>"


class YouTubeVideo(IFrame):
    def __init__(self, id, width=400, height=300, allow_autoplay=False, **parameters) -> None:
        super().__init__(f"https://www.youtube.com/embed/{id}", width, height, **parameters)


class VimeoVideo(IFrame):
    def __init__(self, id, width=400, height=300, **parameters) -> None:
        super().__init__(f"https://player.vimeo.com/video/{id}", width, height, **parameters)


class FileLink:
    """The path of a file, to be followed."""

    def __init__(self, path, url_prefix="", result_html_prefix="", result_html_suffix="<br>") -> None:
        self.path = os.fspath(path)
        self._around = (result_html_prefix, url_prefix, result_html_suffix)

    def _repr_html_(self) -> str:
        before, prefix, after = self._around
        return f'{before}<a href="{escape(prefix + self.path)}" target="_blank">{escape(self.path)}</a>{after}'

    def __repr__(self) -> str:
        return os.path.abspath(self.path)


_CLASSES = {
    kind.__name__: kind
    for kind in (
        DisplayObject,
        TextDisplayObject,
        Pretty,
        HTML,
        Markdown,
        Latex,
        Math,
        SVG,
        JSON,
        GeoJSON,
        Javascript,
        Code,
        Image,
        Video,
        Audio,
        IFrame,
        YouTubeVideo,
        VimeoVideo,
        FileLink,
    )
}
for _kind in _CLASSES.values():
    # As IPython's own, so that what was pickled here is found where IPython is installed.
    _kind.__module__ = "IPython.display"
