"""How well-known libraries show their objects here: into the execution's record, never in a window or a browser.

Nothing is imported for them. A change to a library waits until session code imports the module in question; a library
of another version than the change knows stays as it is. What is changed:

    matplotlib      pyplot.show and Figure.show emit the figures where they are called; waiting for a user ends at once
    plotly, altair  figures are their JSON and a short text; show() emits that
    pillow, pandas  show() of an image emits it; a styled table has its data as text
    tqdm.notebook   is the tqdm of terminals
    IPython         its display functions are the session's; when it is not installed, notebook.py stands in
"""

from __future__ import annotations

from .private import builtins as __builtins__

import sys
from binascii import b2a_base64
from importlib.machinery import ModuleSpec
from io import BytesIO
from os import environ
from time import sleep

from . import display
from .frames import decode_json
from .imports import ImportHooks
from .previews import module_name, type_name
from .private import MODULES

_TITLE_CHARS = 100
_LISTED = 6


def install(hooks: ImportHooks, api) -> None:
    """Waits for session code to import the libraries. `api` is what emits displays."""
    figures = api.figures
    hooks.after("matplotlib.backend_bases", _change_matplotlib_canvas)
    hooks.after("matplotlib.figure", figures.change_figure)
    hooks.after("matplotlib.pyplot", figures.change_pyplot)
    hooks.after("plotly.basedatatypes", lambda module: display.register(module.BaseFigure, _plotly_figure))
    hooks.after("plotly.io._renderers", lambda module: _change_plotly_renderers(module, api))
    # Not `altair` itself, which other libraries look for without importing it.
    hooks.after("altair.vegalite", lambda module: _change_altair(module, api))
    hooks.after("PIL.Image", lambda module: display.register(module.Image, _pillow_image))
    hooks.after("PIL.ImageShow", lambda module: _change_pillow_show(module, api))
    hooks.after("pandas.io.formats.style", lambda module: display.register(module.Styler, _pandas_style))
    hooks.after("tqdm.notebook", _change_tqdm)
    for name in ("IPython.core.display_functions", "IPython.core.display", "IPython.display"):
        hooks.after(name, lambda module: _change_ipython(module, api))
    sys.meta_path.append(_NotebookFinder(api))


# ── matplotlib ──────────────────────────────────────────────────────────────────────────────────────────────────


class Figures:
    """The open matplotlib figures of the running cell. Those that nobody has shown are shown at its end; one that has
    been shown already, and has not changed since, is not shown again. At the end of a cell all are closed."""

    def __init__(self, show) -> None:
        """`show` emits a mime bundle."""
        self._show = show
        self._shown: dict = {}
        """What each figure looked like when it was last shown, by its identity; the figure is kept with it."""

    def change_figure(self, module) -> None:
        display.register(module.Figure, self._bundle)

        def show(figure, warn=True):
            """Shows the figure."""
            self._show(self._bundle(figure))

        module.Figure.show = show

    def change_pyplot(self, module) -> None:
        def show(*args, **kwargs):
            """Shows all open figures and closes them."""
            self._show_open(module)

        def pause(interval):
            """Waits; the figures go on as they are."""
            sleep(max(interval, 0))

        module.show = show
        module.pause = pause

    def finish(self) -> None:
        """The end of a cell. Raises KeyboardInterrupt only."""
        pyplot = MODULES.get("matplotlib.pyplot")
        try:
            if pyplot is not None:
                self._show_open(pyplot)
        except KeyboardInterrupt:
            _close_all(pyplot)
            raise
        except BaseException:
            _close_all(pyplot)
        finally:
            self._shown = {}

    def _show_open(self, pyplot) -> None:
        for number in pyplot.get_fignums():
            figure = pyplot.figure(number)
            try:
                self._show_changed(figure)
            finally:
                self._shown.pop(id(figure), None)
                pyplot.close(figure)

    def _show_changed(self, figure) -> None:
        _, before = self._shown.get(id(figure), (None, None))
        if before is not None and not getattr(figure, "stale", True):
            return
        mime = _drawn(figure)
        # Saving a figure makes it stale without changing it.
        if before is None or before != mime:
            self._show(mime)

    def _bundle(self, figure) -> dict:
        mime = _drawn(figure)
        self._shown[id(figure)] = (figure, mime)
        figure.stale = False
        return mime


def _drawn(figure) -> dict:
    """A figure as a mime bundle; an empty one has a text only."""
    try:
        width, height = figure.get_size_inches()
        mime = {"text/plain": f"<{type_name(type(figure))} {width:g}×{height:g} in, {len(figure.axes)} axes>"}
        if not _is_blank(figure):
            if _waits_for_drawing(figure):
                figure.canvas.draw()
            image = BytesIO()
            figure.savefig(image, format="png", bbox_inches="tight")
            mime["image/png"] = b2a_base64(image.getvalue(), newline=False).decode("ascii")
        return mime
    except KeyboardInterrupt:
        raise
    except BaseException as error:
        return {"text/plain": f"<Figure that could not be drawn: {display.error_text(error)}>"}


def _is_blank(figure) -> bool:
    """Whether there is nothing in the figure but its background."""
    return not figure.axes and hasattr(figure, "get_children") and len(figure.get_children()) <= 1


def _waits_for_drawing(figure) -> bool:
    """Whether something begins when the figure is first drawn; saving does not count. An animation then has its first
    picture in it."""
    registry = getattr(getattr(figure, "canvas", None), "callbacks", None)
    return bool(getattr(registry, "callbacks", {}).get("draw_event"))


def _close_all(pyplot) -> None:
    try:
        pyplot.close("all")
    except KeyboardInterrupt:
        raise
    except BaseException:
        pass  # What session code has put in pyplot's place.


def _change_matplotlib_canvas(module) -> None:
    """Waiting for ever on a canvas that nobody sees ends at once: no key is pressed, nothing is clicked."""
    wait = module.FigureCanvasBase.start_event_loop

    def start_event_loop(canvas, timeout=0):
        if timeout > 0:
            wait(canvas, timeout)

    module.FigureCanvasBase.start_event_loop = start_event_loop


# ── plotly ──────────────────────────────────────────────────────────────────────────────────────────────────────

_PLOTLY_MIME = "application/vnd.plotly.v1+json"
_PLOTLY_FILES = ("png", "jpeg", "jpg", "svg", "pdf", "json")
"""Renderers whose result a record can hold. All others stand for a front end."""


def _plotly_figure(figure) -> dict:
    module = MODULES.get("plotly.io._renderers")
    if module is not None:
        files = _plotly_files(module, None)
        if files:
            try:
                return _plotly_rendered(module, figure, files, False, {})
            except Exception:
                pass  # What draws the files is not installed.
    return _plotly_json(figure.to_json(validate=False), type_name(type(figure)))


def _change_plotly_renderers(module, api) -> None:
    def show(fig, renderer=None, validate=True, **options):
        """Shows the figure: its JSON, or the file that a renderer such as "png" makes of it."""
        files = _plotly_files(module, renderer)
        if files:
            mime = _plotly_rendered(module, fig, files, validate, options)
        else:
            import plotly.io

            mime = _plotly_json(plotly.io.to_json(fig, validate=validate), _plotly_name(fig), options.get("config"))
        api.display(mime, raw=True)

    module.show = show
    # Notebook renderers begin by displaying the whole of plotly.js.
    type(module.renderers)._activate_pending_renderers = lambda renderers, cls=object: None
    if "PLOTLY_RENDERER" not in environ:
        module.renderers.default = "plotly_mimetype"


def _plotly_files(module, renderer) -> list:
    names = str(renderer or module.renderers.default or "").split("+")
    return [name for name in names if name in _PLOTLY_FILES]


def _plotly_rendered(module, figure, files: list, validate: bool, options: dict) -> dict:
    spec = module.validate_coerce_fig_to_dict(figure, validate)
    mime = module.renderers._build_mime_bundle(spec, "+".join(files), **options)
    return {"text/plain": _plotly_text(spec, _plotly_name(figure)), **mime}


def _plotly_json(written: str, name: str, config=None) -> dict:
    spec = decode_json(written)
    if config:
        spec["config"] = config
    return {"text/plain": _plotly_text(spec, name), _PLOTLY_MIME: spec}


def _plotly_name(figure) -> str:
    return "Figure" if type(figure) is dict else type_name(type(figure))


def _plotly_text(spec: dict, name: str) -> str:
    traces = spec.get("data") or []
    title = (spec.get("layout") or {}).get("title")
    title = title.get("text") if type(title) is dict else title
    kinds = _listed([str(trace.get("type", "scatter")) for trace in traces])
    return f"<plotly {name}: {_counted(len(traces), 'trace')}{f' ({kinds})' if kinds else ''}{_titled(title)}>"


def _listed(words: list) -> str:
    """The different words in order, the first few of them."""
    different = list(dict.fromkeys(words))
    return ", ".join(different[:_LISTED]) + (", …" if len(different) > _LISTED else "")


def _counted(count: int, noun: str) -> str:
    return f"{count} {noun}{'' if count == 1 else 's'}"


def _titled(title) -> str:
    if type(title) in (list, tuple):
        title = " ".join(map(str, title))
    if type(title) is not str or not title.strip():
        return ""
    title = " ".join(title.split())
    return f', "{title if len(title) <= _TITLE_CHARS else title[:_TITLE_CHARS] + "…"}"'


# ── altair ──────────────────────────────────────────────────────────────────────────────────────────────────────

_ALTAIR_FRONT_ENDS = frozenset(
    "default html mimetype jupyterlab nteract colab kaggle zeppelin jupyter browser olli notebook altair_viewer".split()
)
"""Renderers that stand for a front end. The result of any other, a file or what session code makes, is kept."""
_ALTAIR_PARTS = (
    ("layer", "layers"),
    ("hconcat", "charts in a row"),
    ("vconcat", "charts in a column"),
    ("concat", "charts"),
)


def _change_altair(module, api) -> None:
    renderers = module.renderers
    version = MODULES.get(module.TopLevelMixin.__module__.rpartition(".")[0] + ".display")
    mime_type = getattr(version, "VEGALITE_MIME_TYPE", "application/vnd.vegalite.v5+json")

    def chart_bundle(chart):
        if renderers.active not in _ALTAIR_FRONT_ENDS:
            return None
        spec = chart.to_dict()
        return {"text/plain": _altair_text(spec, type_name(type(chart))), mime_type: spec}

    def show(chart, *args, **kwargs):
        """Shows the chart."""
        api.display(chart)

    display.register(module.TopLevelMixin, chart_bundle)
    module.TopLevelMixin.show = show


def _altair_text(spec: dict, name: str) -> str:
    parts = [f"{len(spec[key])} {noun}" for key, noun in _ALTAIR_PARTS if type(spec.get(key)) is list]
    mark = spec.get("mark")
    mark = mark.get("type") if type(mark) is dict else mark
    if mark:
        parts.append(str(mark))
    encoding = spec.get("encoding") or {}
    parts.extend([f"{channel}={_altair_field(encoding[channel])}" for channel in list(encoding)[:_LISTED]])
    title = spec.get("title")
    title = title.get("text") if type(title) is dict else title
    return f"<altair {name}{': ' if parts else ''}{', '.join(parts)}{_titled(title)}>"


def _altair_field(channel) -> str:
    if type(channel) is not dict:
        return "…"
    field = channel.get("field", channel.get("value", channel.get("datum", "")))
    named = str(field)[:_TITLE_CHARS] if type(field) in (str, int, float) else "…"
    aggregate = channel.get("aggregate")
    return f"{aggregate}({named})" if type(aggregate) is str else named


# ── pillow, pandas, tqdm ────────────────────────────────────────────────────────────────────────────────────────


def _pillow_image(image) -> dict:
    written = BytesIO()
    try:
        image.save(written, "PNG")
    except OSError:
        # PNG does not have every mode: CMYK, floating point.
        written = BytesIO()
        image.convert("RGB").save(written, "PNG")
    kind = type(image)
    width, height = image.size
    text = f"<{module_name(kind)}.{type_name(kind)} image mode={image.mode} size={width}x{height}>"
    return {"text/plain": text, "image/png": written.getvalue()}


def _change_pillow_show(module, api) -> None:
    def show(image, title=None, **options):
        """Shows the image."""
        api.display(image)
        return True

    module.show = show


def _pandas_style(styler) -> dict | None:
    html = styler._repr_html_()
    return None if html is None else {"text/plain": display.text(styler.data), "text/html": html}


def _change_tqdm(module) -> None:
    """Without a front end a progress bar of widgets shows nothing, or fails."""
    std = MODULES["tqdm.std"]

    class tqdm_notebook(std.tqdm):
        def __init__(self, *args, display=True, **options) -> None:
            super().__init__(*args, **options)

    def trange(*args, **options):
        return tqdm_notebook(range(*args), **options)

    module.tqdm = module.tqdm_notebook = tqdm_notebook
    module.trange = module.tnrange = trange


# ── IPython ─────────────────────────────────────────────────────────────────────────────────────────────────────

_DISPLAY_FUNCTIONS = ("display", "update_display", "clear_output", "publish_display_data")
STAND_INS = {
    "IPython": True,
    "IPython.core": True,
    "IPython.core.display": False,
    "IPython.core.display_functions": False,
    "IPython.core.getipython": False,
    "IPython.display": False,
    "IPython.lib": True,
    "IPython.lib.display": False,
}
"""The modules that notebook.py stands in for, and whether they are packages."""


def _change_ipython(module, api) -> None:
    """There is no InteractiveShell; without one IPython's own functions would print."""
    for name in _DISPLAY_FUNCTIONS:
        if name in vars(module):
            setattr(module, name, getattr(api, name))
    if "HTML" in vars(module):
        display.register(module.HTML, _ipython_html)


def _ipython_html(shown) -> dict | None:
    from . import notebook

    html = shown._repr_html_()
    if type(html) is tuple:
        html = html[0]
    return notebook.html_bundle(html) if type(html) is str else None


class _NotebookFinder:
    """Finds a stand-in for IPython when nobody else finds IPython."""

    def __init__(self, api) -> None:
        self._api = api

    def find_spec(self, name, path=None, target=None):
        if name not in STAND_INS or not self._stands_in(name):
            return None
        behind = False
        for finder in list(sys.meta_path):
            # Session code may have added finders.
            if behind and hasattr(finder, "find_spec"):
                spec = finder.find_spec(name, path, target)
                if spec is not None:
                    return spec
            behind = behind or finder is self
        return ModuleSpec(name, self, origin="a stand-in", is_package=STAND_INS[name])

    def _stands_in(self, name: str) -> bool:
        """Whether the package that the module belongs to is the stand-in: parts of the two are never mixed."""
        if name == "IPython":
            return True
        spec = getattr(MODULES.get("IPython"), "__spec__", None)
        return getattr(spec, "loader", None) is self

    def create_module(self, spec):
        return None

    def exec_module(self, module) -> None:
        from . import notebook

        notebook.fill(module, self._api)
