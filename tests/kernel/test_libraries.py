"""Libraries that show things: small stand-ins for what the kernel changes, and the real ones where installed."""

from __future__ import annotations

import base64
import importlib.util
import json
import struct
import textwrap
import unittest
import zlib

from harness import KernelTest

PACKAGES = {
    "matplotlib/__init__.py": "",
    "matplotlib/backend_bases.py": """
import time
class FigureCanvasBase:
    def start_event_loop(self, timeout=0):
        if timeout <= 0: raise RuntimeError('waits for ever')
        time.sleep(timeout)
""",
    "matplotlib/figure.py": """
from .backend_bases import FigureCanvasBase
class Figure:
    def __init__(self):
        self.axes, self.drawn, self.stale, self.canvas = [], 0, True, FigureCanvasBase()
    def get_children(self): return ['patch', *self.axes]
    def get_size_inches(self): return (6.4, 4.8)
    def plot(self, what): self.axes.append(what); self.stale = True
    def savefig(self, file, **_):
        if 'bad' in self.axes: raise ValueError('no ink')
        self.drawn += 1; self.stale = True
        file.write(repr(self.axes).encode())
    def show(self, warn=True): raise RuntimeError('non-interactive')
    def __repr__(self): return 'Figure'
""",
    "matplotlib/pyplot.py": """
from .figure import Figure
_figures = {}
def figure(number=None):
    number = number or max(_figures, default=0) + 1
    return _figures.setdefault(number, Figure())
def get_fignums(): return sorted(_figures)
def plot(what): (figure(max(_figures)) if _figures else figure()).plot(what)
def close(which):
    for number in [n for n, f in _figures.items() if which in ('all', f, n)]: del _figures[number]
def show(*args, **kwargs): raise RuntimeError('non-interactive')
def pause(interval): show(block=False)
""",
    "plotly/__init__.py": "",
    "plotly/basedatatypes.py": """
import json
class BaseFigure:
    def __init__(self, data=(), title=None): self.spec = {'data': list(data), 'layout': {'title': {'text': title}}}
    def to_json(self, validate=True): return json.dumps(self.spec)
    def __repr__(self): return 'giant' * 10_000
    def _ipython_display_(self): raise RuntimeError('opens a browser')
    def _repr_html_(self): return '<script>' * 100_000
    def show(self, *args, **options):
        import plotly.io
        plotly.io.show(self, *args, **options)
class Figure(BaseFigure): pass
""",
    "plotly/io/__init__.py": """
from ._renderers import show, renderers
import json
def to_json(fig, validate=True): return json.dumps(fig) if isinstance(fig, dict) else fig.to_json()
""",
    "plotly/io/_renderers.py": """
class Config:
    default = 'browser'
    def _activate_pending_renderers(self, cls=object): raise RuntimeError('megabytes of HTML')
    def _build_mime_bundle(self, spec, renderers_string=None, **options):
        self._activate_pending_renderers()
        if renderers_string == 'svg': raise ValueError('needs kaleido')
        return {'image/png': b'png!'}
renderers = Config()
def validate_coerce_fig_to_dict(fig, validate): return fig if isinstance(fig, dict) else fig.spec
def show(fig, renderer=None, validate=True, **options): raise RuntimeError('opens a browser')
""",
    "altair/__init__.py": "from .vegalite import *\n",
    "altair/vegalite/__init__.py": "from .v9 import *\n",
    "altair/vegalite/v9/__init__.py": "from .api import *\nfrom .display import renderers\n",
    "altair/vegalite/v9/display.py": """
VEGALITE_MIME_TYPE = 'application/vnd.vegalite.v9+json'
class Registry: active = 'default'
renderers = Registry()
""",
    "altair/vegalite/v9/api.py": """
from . import display as _display
class TopLevelMixin:
    def __init__(self, **spec): self.spec = spec
    def to_dict(self, **_):
        if not self.spec: raise ValueError('invalid')
        return self.spec
    def show(self): raise RuntimeError('needs IPython')
    def _repr_mimebundle_(self, **_): return {'text/html': 'own way'}
    def __repr__(self): return 'alt.Chart(...)'
class Chart(TopLevelMixin): pass
""",
    "PIL/__init__.py": "",
    "PIL/Image.py": """
class Image:
    mode, size = 'RGB', (3, 2)
    def save(self, file, format):
        if self.mode == 'CMYK': raise OSError('cannot write mode CMYK as PNG')
        file.write(b'png!')
    def convert(self, mode): return Image()
    def show(self, title=None):
        from . import ImageShow
        ImageShow.show(self, title)
    def _repr_jpeg_(self): return b'jpeg'
""",
    "PIL/ImageShow.py": "def show(image, title=None, **options): raise RuntimeError('opens a window')\n",
    "tqdm/__init__.py": "",
    "tqdm/std.py": """
class tqdm:
    def __init__(self, iterable, desc=''): self.iterable = iterable
    def __iter__(self): return iter(self.iterable)
""",
    "tqdm/notebook.py": "from .std import tqdm as std\ndef tqdm(*_, **__): raise ImportError('IProgress not found')\n",
}


class StandInTest(KernelTest):
    """A kernel whose folder has small packages of the libraries' names."""

    packages = PACKAGES

    @classmethod
    def setUpClass(cls) -> None:
        super().setUpClass()
        for path, text in cls.packages.items():
            file = cls.box.work / path
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text)

    def shown(self, code: str) -> list:
        return [frame["mime"] for frame in self.run_ok(code).of("display")]

    def images(self, code: str) -> list:
        return [base64.b64decode(mime["image/png"]).decode() for mime in self.shown(code)]


class MatplotlibTest(StandInTest):
    def setUp(self) -> None:
        super().setUp()
        self.run_ok("import io, matplotlib.pyplot as plt")

    def test_show_emits_and_closes_in_order(self):
        run = self.run_ok(
            """
            plt.plot('a'); plt.show()
            display('between')
            plt.plot('b'); plt.show(block=False)
            plt.get_fignums()
            """
        )
        texts = [frame["mime"]["text/plain"] for frame in run.of("display")]
        self.assertEqual(texts, ["<Figure 6.4×4.8 in, 1 axes>", "'between'", "<Figure 6.4×4.8 in, 1 axes>"])
        self.assertEqual((run.text, run.stderr), ("[]", ""))
        code = "from matplotlib.pyplot import *\nplot('c'); show(); plot('d'); figure(); plot('e'); show()"
        self.assertEqual(self.images(code), ["['c']", "['d']", "['e']"])
        self.assertEqual(self.shown("plt.show()"), [])

    def test_a_figure_is_shown_once(self):
        run = self.run_ok("fig = plt.figure(); fig.plot('a'); fig")
        mime = run.done["result"]["mime"]
        self.assertEqual((run.of("display"), run.text), ([], "<Figure 6.4×4.8 in, 1 axes>"))
        self.assertEqual(list(mime), ["text/plain", "image/png"])
        self.assertEqual(self.kernel.value("fig.drawn, plt.get_fignums()"), "(1, [])")
        for code, images in (
            ("display(fig)", ["['a']"]),
            ("fig.show(); fig.savefig(io.BytesIO())", ["['a']"]),
            ("fig.show(); fig.plot('b'); plt.show()", ["['a']", "['a', 'b']"]),
        ):
            self.assertEqual(self.images(f"fig = plt.figure(); fig.plot('a'); {code}"), images, code)

    def test_figures_that_are_closed_empty_or_bad(self):
        self.assertEqual(self.shown("fig = plt.figure(); fig.plot('a'); plt.close(fig)"), [])
        self.assertEqual(self.shown("plt.figure();"), [{"text/plain": "<Figure 6.4×4.8 in, 0 axes>"}])
        shown = self.shown("plt.plot('bad'); plt.figure(); plt.plot('good'); plt.show()")
        self.assertIn("could not be drawn: ValueError: no ink", shown[0]["text/plain"])
        self.assertIn("image/png", shown[1])
        run = self.run_error("plt.plot('a'); plt.show(); plt.plot('b'); 1/0", "ZeroDivisionError")
        self.assertEqual(len(run.of("display")), 2)
        self.assertEqual(self.kernel.value("plt.get_fignums()"), "[]")

    def test_nothing_waits_for_a_user(self):
        run = self.run_ok(
            """
            plt.plot('a')
            for n in range(3): plt.pause(0.001); plt.pause(0)
            canvas = plt.figure(1).canvas
            canvas.start_event_loop(); canvas.start_event_loop(0.001)
            """
        )
        self.assertEqual((len(run.of("display")), run.stderr), (1, ""))

    def test_an_animation_is_begun(self):
        code = """
            fig = plt.figure(); fig.plot('first')
            class Canvas:
                class callbacks: callbacks = {'draw_event': {1: None}}
                def draw(self): fig.plot('frame')
            fig.canvas = Canvas()
            """
        self.assertEqual(self.images(code), ["['first', 'frame']"])

    def test_drawing_can_be_interrupted_and_leaves_nothing_open(self):
        self.run_ok("def hang(*_, **__):\n    print('drawing', flush=True)\n    while True: pass")
        code = "fig = plt.figure(); fig.plot('a'); fig.savefig = hang; plt.figure(); plt.plot('b')"
        run = self.kernel.start(code).wait_output("drawing")
        self.kernel.interrupt()
        self.assertEqual(run.wait().status, "interrupted")
        self.assertEqual(self.kernel.value("plt.get_fignums()"), "[]")

    def test_what_session_code_makes_of_it_ends_no_cell(self):
        self.run_ok("import sys")
        for damage in (
            "plt.get_fignums = None",
            "plt.get_fignums = lambda: 5",
            "plt.close = None; plt.plot('a')",
            "sys.modules['matplotlib.pyplot'] = 5",
            "sys.modules['matplotlib.pyplot'] = type('', (), {'get_fignums': exit})",
        ):
            self.assertEqual(self.run_ok(f"{damage}\n'fine'").text, "'fine'", damage)


class ChartTest(StandInTest):
    def test_plotly_gives_its_json(self):
        self.run_ok(
            """
            import sys
            from plotly.basedatatypes import Figure
            fig = Figure([{'type': 'scatter'}, {'type': 'bar'}, {}], 'The\\n title')
            """
        )
        layout = {"title": {"text": "The\n title"}}
        expected = {
            "text/plain": '<plotly Figure: 3 traces (scatter, bar), "The title">',
            "application/vnd.plotly.v1+json": {"data": [{"type": "scatter"}, {"type": "bar"}, {}], "layout": layout},
        }
        self.assertEqual(self.run_ok("fig").done["result"]["mime"], expected)
        self.assertEqual(self.kernel.value("'plotly.io' in sys.modules"), "False")
        self.assertEqual(self.shown("fig.show(); display(fig)"), [expected] * 2)
        for renderer in ("notebook", "browser+colab", "iframe", "", "vscode"):
            code = f"import plotly.io as pio; pio.renderers.default = {renderer!r}; fig.show(); fig.show({renderer!r})"
            self.assertEqual(self.shown(code), [expected] * 2, renderer)
        self.assertEqual(self.kernel.value("Figure([{'type': 'pie'}])"), "<plotly Figure: 1 trace (pie)>")
        shown = self.shown("pio.show({'data': []}, config={'a': 1})")
        self.assertEqual(shown[0]["application/vnd.plotly.v1+json"], {"data": [], "config": {"a": 1}})

    def test_plotly_renders_files_when_asked(self):
        self.run_ok("from plotly.basedatatypes import Figure\nimport plotly.io as pio\nfig = Figure()")
        self.assertEqual(self.kernel.value("pio.renderers.default"), "'plotly_mimetype'")
        image = {"text/plain": "<plotly Figure: 0 traces>", "image/png": "cG5nIQ=="}
        self.assertEqual(self.shown("fig.show('png')"), [image])
        self.assertEqual(self.run_ok("pio.renderers.default = 'png'; fig").done["result"]["mime"], image)
        self.run_error("fig.show('svg')", "ValueError")
        mime = self.run_ok("pio.renderers.default = 'svg'; fig").done["result"]["mime"]
        self.assertIn("application/vnd.plotly.v1+json", mime)

    def test_altair_gives_its_specification(self):
        self.run_ok(
            """
            import altair as alt
            encoding = {'x': {'field': 'a'}, 'y': {'aggregate': 'count'}}
            chart = alt.Chart(mark={'type': 'bar'}, encoding=encoding, title='T')
            """
        )
        mime = self.run_ok("chart").done["result"]["mime"]
        self.assertEqual(list(mime), ["text/plain", "application/vnd.vegalite.v9+json"])
        self.assertEqual(mime["text/plain"], '<altair Chart: bar, x=a, y=count(), "T">')
        self.assertEqual(self.shown("chart.show(); display(chart)"), [mime] * 2)
        self.assertEqual(self.kernel.value("alt.Chart(layer=[1, 2])"), "<altair Chart: 2 layers>")
        for code in ("alt.Chart()", "alt.vegalite.v9.display.renderers.active = 'mine'; chart"):
            mime = self.run_ok(code).done["result"]["mime"]
            self.assertEqual(mime, {"text/plain": "alt.Chart(...)", "text/html": "own way"})

    def test_images_and_progress_bars(self):
        self.run_ok("from PIL import Image\nimage = Image.Image()")
        expected = {"text/plain": "<PIL.Image.Image image mode=RGB size=3x2>", "image/png": "cG5nIQ=="}
        self.assertEqual(self.run_ok("image").done["result"]["mime"], expected)
        self.assertEqual(self.shown("image.show(); image.show(title='x')"), [expected] * 2)
        mime = self.run_ok("image.mode = 'CMYK'; image").done["result"]["mime"]
        self.assertEqual(mime["image/png"], "cG5nIQ==")
        self.run_ok("from tqdm.notebook import tqdm, trange, tqdm_notebook, tnrange")
        code = "list(tqdm([1], display=False)), list(trange(2, desc='x')), isinstance(trange(1), tqdm)"
        self.assertEqual(self.kernel.value(code), "([1], [0, 1], True)")


REAL = {
    "IPython/__init__.py": "def get_ipython(): return None\n",
    "IPython/core/__init__.py": "",
    "IPython/core/display_functions.py": """
__all__ = ['display', 'clear_output', 'update_display', 'publish_display_data']
def display(*objects, **_): print('in a terminal')
clear_output = update_display = publish_display_data = display
""",
    "IPython/display.py": """
from IPython.core.display_functions import *
class HTML:
    def __init__(self, data): self.data = data
    def _repr_html_(self): return self.data
    def __repr__(self): return '<IPython.core.display.HTML object>'
""",
}


class InstalledIPythonTest(StandInTest):
    packages = REAL

    def test_its_functions_are_the_sessions(self):
        run = self.run_ok(
            """
            from IPython.display import display as show, update_display, clear_output, publish_display_data, HTML
            show(1, display_id='a'); update_display(2, display_id='a'); clear_output()
            publish_display_data({'text/plain': 'raw'})
            show(HTML('<b>bold</b>'))
            """
        )
        shown = [frame["mime"]["text/plain"] for frame in run.of("display")]
        self.assertEqual((run.stdout, shown), ("", ["1", "2", "raw", "bold"]))
        self.run_ok("from IPython.core.display_functions import display as core")
        self.assertEqual(self.kernel.value("core == show == display"), "True")

    def test_nothing_of_the_stand_in_is_mixed_in(self):
        self.run_error("import IPython.core.display", "ModuleNotFoundError")


PNG = b"\x89PNG\r\n\x1a\n" + struct.pack(">I4sIIBBBBB", 13, b"IHDR", 3, 2, 8, 2, 0, 0, 0)


@unittest.skipIf(importlib.util.find_spec("IPython"), "IPython is installed")
class NotebookTest(KernelTest):
    """What stands in for IPython."""

    def mime(self, code: str) -> dict:
        return self.run_ok(f"from IPython.display import *\n{code}").done["result"]["mime"]

    def test_modules(self):
        loaded = "[name for name in __import__('sys').modules if 'IPython' in name or 'notebook' in name]"
        self.assertEqual(self.kernel.value(loaded), "[]")
        self.run_ok(
            """
            import IPython
            import IPython.display
            from IPython import display as d, get_ipython
            from IPython.core.display import HTML, display as shown
            from IPython.display import Audio, Code, IFrame, Image, JSON, Javascript, Latex, Markdown, Math, SVG, Video
            from IPython.display import clear_output, display, display_html, publish_display_data, update_display
            """
        )
        same = "get_ipython() is IPython.get_ipython() is None, d.display == shown == display, d.HTML is HTML"
        self.assertEqual(self.kernel.value(same), "(True, True, True)")
        self.assertEqual(self.kernel.value("IPython.version_info[:2] >= (8, 24)"), "True")
        self.run_error("import IPython.terminal", "ModuleNotFoundError")
        self.run_error("from IPython.core.magic import Magics", "ModuleNotFoundError")
        self.run_error("IPython.embed()", "AttributeError")

    def test_the_package_has_its_submodules(self):
        self.run_ok("import IPython\nIPython.display.display(IPython.core.display.HTML('x'))")

    def test_a_finder_of_the_session_comes_first(self):
        self.run_ok(
            """
            import importlib.machinery, sys
            class Finder:
                def find_spec(self, name, path=None, target=None):
                    return importlib.machinery.ModuleSpec(name, self) if name == 'IPython' else None
                def create_module(self, spec): return None
                def exec_module(self, module): module.real = True
            sys.meta_path.append(Finder())
            """
        )
        self.assertEqual(self.kernel.value("import IPython; IPython.real"), "True")
        self.run_error("import IPython.display", "ModuleNotFoundError")

    def test_texts(self):
        table = "<h1>Sum</h1><style>p {}</style><table><tr><td>a</td><td>1 &lt; 2</td></tr></table>"
        frame = '<iframe width="1" height="2" src="http://x.y?a=b+c" frameborder="0" allowfullscreen></iframe>'
        code = '<pre><code class="language-python">1 &lt; 2</code></pre>'
        link = '<a href="http://x.y">http://x.y</a>'
        for made, plain, mime_type, part in (
            (f"HTML({table!r})", "Sum\na 1 < 2", "text/html", table),
            ("HTML('<script>x()</script>')", "<HTML, 20 characters>", "text/html", "<script>x()</script>"),
            ("HTML(url='http://x.y')", "<HTML http://x.y>", "text/html", link),
            ("Markdown('*a*')", "*a*", "text/markdown", "*a*"),
            ("Latex('$x$')", "$x$", "text/latex", "$x$"),
            ("Math('x^2')", "x^2", "text/latex", "$\\displaystyle x^2$"),
            ("SVG('<?xml version=\"1.0\"?>\\n<svg/>')", "<SVG, 6 characters>", "image/svg+xml", "<svg/>"),
            ("JSON({'a': [1]})", "<JSON, 1 items>", "application/json", {"a": [1]}),
            ("JSON('[1, 2]', expanded=True)", "<JSON, 2 items>", "application/json", [1, 2]),
            ("Javascript('x()')", "<Javascript, 3 characters>", "application/javascript", "x()"),
            ("Code('1 < 2', language='python')", "1 < 2", "text/html", code),
            ("IFrame('http://x.y', width=1, height=2, a='b c')", "<IFrame http://x.y>", "text/html", frame),
        ):
            self.assertEqual(self.mime(made), {"text/plain": plain, mime_type: part}, made)

    def test_a_subclass_has_its_say(self):
        code = "class Own(HTML):\n    def _repr_html_(self): return f'<b>{self.data}!</b>'\nOwn('x')"
        self.assertEqual(self.mime(code), {"text/plain": "x!", "text/html": "<b>x!</b>"})

    def test_what_is_no_data_is_refused(self):
        self.run_ok("from IPython.display import *")
        for code, kind in (
            ("HTML(5)", "TypeError"),
            ("JSON(5)", "TypeError"),
            ("Image(5)", "TypeError"),
            ("Image('none.png')", "FileNotFoundError"),
            ("HTML(filename='none.html')", "FileNotFoundError"),
            ("Audio([1])", "ValueError"),
        ):
            self.run_error(code, kind)

    def test_html_is_read_in_time_whatever_it_is(self):
        self.run_ok("from IPython.display import HTML")
        for piece in ("<![CDATA[", "<!--", "<!", "<script>", "<a b='", "</", "&", "<b>x</b>"):
            run = self.run_ok(f"display(HTML({piece!r} * 200_000), exclude=['text/html'])")
            self.assertLess(len(run.of("display")[0]["mime"]["text/plain"]), 3000)
            self.assertLess(run.done["duration_ms"], 5000)

    def test_media(self):
        (self.box.work / "picture.png").write_bytes(PNG)
        (self.box.work / "film.webm").write_bytes(b"webm")
        png = {"text/plain": f"<Image png 3×2, {len(PNG)} bytes>", "image/png": base64.b64encode(PNG).decode()}
        self.run_ok("import pathlib\ndata = open('picture.png', 'rb').read()")
        for given in (
            "'picture.png'",
            "filename='picture.png', width=5",
            "data",
            "pathlib.Path('picture.png')",
            "data=bytearray(data), format='png'",
        ):
            self.assertEqual(self.mime(f"Image({given})"), png, given)
        for data, kind in (("b'\\xff\\xd8\\xff!'", "jpeg"), ("b'GIF89a!'", "gif"), ("b'RIFF1234WEBP'", "webp")):
            self.assertEqual(list(self.mime(f"Image({data})")), ["text/plain", f"image/{kind}"])
        link = {"text/plain": "<Image http://x.y/z.png>", "text/html": '<img src="http://x.y/z.png" width="3"/>'}
        self.assertEqual(self.mime("Image(url='http://x.y/z.png', width=3)"), link)
        self.assertEqual(list(self.mime("Video('film.webm')")), ["text/plain", "video/webm"])
        wave = base64.b64decode(self.mime("Audio([[0, 1], [0, -0.5]], rate=100)")["audio/wav"])
        self.assertEqual((wave[:4], wave[-8:]), (b"RIFF", struct.pack("<4h", 0, 0, 32767, -16383)))

    def test_functions(self):
        run = self.run_ok(
            """
            from IPython.display import *
            handle = DisplayHandle(); handle.display(1); handle.update(2)
            display_html('<p>x', raw=True); display_markdown(Markdown('*x*'))
            publish_display_data(data={'text/plain': 'raw'}, metadata={}, transient={'display_id': 'a'})
            clear_output(); set_matplotlib_formats('svg')
            """
        )
        shown = [(frame["update"], frame["mime"]["text/plain"]) for frame in run.of("display")]
        self.assertEqual(shown, [(False, "1"), (True, "2"), (False, "x"), (False, "*x*"), (False, "raw")])
        code = "import pickle\npickle.loads(pickle.dumps(HTML('x'))).data, HTML.__module__"
        self.assertEqual(self.kernel.value(code), "('x', 'IPython.display')")


class PlainCellTest(KernelTest):
    def test_a_plain_cell_imports_nothing(self):
        self.run_ok("import sys\nbefore = set(sys.modules)")
        self.run_ok(
            """
            class Shown:
                def _repr_html_(self): return '<b>'
                def _repr_png_(self): return b'x'
            display(1, Shown(), 'x'); display({'image/png': b'x'}, raw=True)
            Shown()
            """
        )
        self.assertEqual(self.kernel.value("set(sys.modules) - before"), "set()")
        lazy = "[name for name in before if name.partition('.')[0] in ('IPython', 'html') or 'notebook' in name]"
        self.assertEqual(self.kernel.value(lazy), "[]")


def needs(*names: str):
    missing = [name for name in names if importlib.util.find_spec(name) is None]
    return unittest.skipUnless(not missing, f"{', '.join(missing)} not installed")


class RealTest(KernelTest):
    """The libraries themselves."""

    def run_ok(self, code: str):
        run = self.kernel.run(textwrap.dedent(code), 60)
        self.assertEqual(run.status, "ok", run.error and run.error["traceback"])
        return run

    def shown(self, code: str) -> list:
        return [frame["mime"] for frame in self.run_ok(code).of("display")]

    def mime(self, code: str) -> dict:
        return self.run_ok(code).done["result"]["mime"]

    def size(self, png: str) -> tuple:
        data = base64.b64decode(png)
        self.assertEqual(zlib.crc32(data[12:29]), int.from_bytes(data[29:33], "big"))
        return struct.unpack(">II", data[16:24])

    @needs("matplotlib")
    def test_matplotlib(self):
        self.run_ok("import io, matplotlib; matplotlib.use('Agg')\nimport matplotlib.pyplot as plt")
        run = self.run_ok("plt.plot([1, 2]); plt.show(); plt.plot([2, 1]); plt.show()")
        images = [frame["mime"]["image/png"] for frame in run.of("display")]
        self.assertEqual((len(set(images)), run.stderr), (2, ""))
        self.assertGreater(self.size(images[0])[0], 300)
        run = self.run_ok("plt.plot([1, 2])")
        self.assertEqual((len(run.of("display")), list(run.done["result"]["mime"])), (1, ["text/plain"]))
        self.assertIn("Line2D", run.text)
        run = self.run_ok("fig, ax = plt.subplots(); ax.plot([1]); fig")
        self.assertEqual((run.of("display"), list(run.done["result"]["mime"])), ([], ["text/plain", "image/png"]))
        self.assertEqual(len(self.shown("fig, ax = plt.subplots(); display(fig); fig.savefig(io.BytesIO())")), 1)
        self.assertEqual(len(self.shown("fig, ax = plt.subplots(); fig.show(); ax.set_title('x'); plt.show()")), 2)
        self.assertEqual(self.shown("plt.figure(); plt.close('all')"), [])
        run = self.run_ok(
            """
            plt.ion()
            for n in range(2): plt.plot([n, 1]); plt.pause(0.001)
            plt.waitforbuttonpress(); plt.ioff()
            plt.get_fignums()
            """
        )
        self.assertEqual(run.stderr, "")

    @needs("matplotlib")
    def test_matplotlib_animation(self):
        run = self.run_ok(
            """
            import gc, matplotlib.pyplot as plt
            from matplotlib.animation import FuncAnimation
            fig, ax = plt.subplots(); line, = ax.plot([], [])
            ani = FuncAnimation(fig, lambda n: line.set_data([0, n], [0, 1]), frames=3)
            plt.show()
            del ani; _ = gc.collect()
            """
        )
        self.assertEqual((len(run.of("display")), run.stderr), (1, ""))

    @needs("plotly")
    def test_plotly(self):
        self.run_ok(
            """
            import plotly.graph_objects as go, plotly.io as pio
            fig = go.Figure([go.Scatter(y=[1, 2]), go.Bar(y=[1])], {'title': {'text': 'T'}})
            """
        )
        mime = self.mime("fig")
        self.assertEqual(sorted(mime), ["application/vnd.plotly.v1+json", "text/plain"])
        self.assertEqual(mime["text/plain"], '<plotly Figure: 2 traces (scatter, bar), "T">')
        traces = mime["application/vnd.plotly.v1+json"]["data"]
        self.assertEqual([trace["type"] for trace in traces], ["scatter", "bar"])
        self.assertLess(len(json.dumps(mime)), 50_000)
        for code in (
            "fig.show()",
            "display(fig)",
            "pio.show(fig)",
            "pio.renderers.default = 'notebook'; fig.show()",
            "fig.show(renderer='browser')",
        ):
            self.assertEqual(self.shown(code), [mime], code)

    @needs("altair", "pandas")
    def test_altair(self):
        self.run_ok(
            """
            import altair as alt, pandas as pd
            chart = alt.Chart(pd.DataFrame({'a': [1, 2]})).mark_bar().encode(x='a:Q', y='count()')
            """
        )
        mime = self.mime("chart")
        (name,) = set(mime) - {"text/plain"}
        self.assertRegex(name, r"^application/vnd\.vegalite\.v\d+[+.]json$")
        self.assertEqual(mime["text/plain"], "<altair Chart: bar, x=a, y=count()>")
        self.assertEqual(self.shown("chart.show(); display(chart)"), [mime] * 2)
        self.assertEqual(list(self.shown("chart.display()")[0]), list(mime))

    @needs("PIL")
    def test_pillow(self):
        self.run_ok("from PIL import Image")
        for mode in ("RGB", "RGBA", "L", "1", "P", "CMYK", "F", "I"):
            mime = self.mime(f"Image.new({mode!r}, (3, 2))")
            self.assertEqual(mime["text/plain"], f"<PIL.Image.Image image mode={mode} size=3x2>")
            self.assertEqual(self.size(mime["image/png"]), (3, 2))
        self.assertEqual(len(self.shown("Image.new('RGB', (3, 2)).show()")), 1)

    @needs("pandas")
    def test_pandas(self):
        self.run_ok("import pandas as pd\nframe = pd.DataFrame({'a': range(1000), 'b': 'x'})")
        mime = self.mime("frame")
        self.assertIn("<table", mime["text/html"])
        self.assertLess(len(mime["text/plain"]), 2000)
        self.assertEqual(list(self.mime("frame.a")), ["text/plain"])

    @needs("pandas", "jinja2")
    def test_pandas_style(self):
        mime = self.mime("import pandas as pd\npd.DataFrame({'a': [1, 2]}).style.highlight_max()")
        self.assertEqual(mime["text/plain"], "   a\n0  1\n1  2")
        self.assertIn("background-color", mime["text/html"])

    @needs("polars")
    def test_polars(self):
        mime = self.mime("import polars as pl\npl.DataFrame({'a': [1, 2]})")
        self.assertIn("<table", mime["text/html"])
        self.assertIn("shape: (2, 1)", mime["text/plain"])

    @needs("tqdm")
    def test_tqdm(self):
        self.run_ok("from tqdm.auto import tqdm\nfrom tqdm.notebook import tqdm as bars, trange")
        run = self.run_ok("list(tqdm([1])), list(bars([1], desc='bar', display=False)), list(trange(1))")
        self.assertEqual(run.text, "([1], [1], [0])")
        self.assertIn("bar: 100%", run.stderr)

    @needs("IPython")
    def test_ipython(self):
        run = self.run_ok(
            """
            from IPython.display import *
            show = display
            show(HTML('<b>bold</b>')); display_html('<i>', raw=True); clear_output(wait=True)
            handle = show(1, display_id=True); handle.update(2); DisplayHandle().display(3)
            show(Markdown('*x*')); publish_display_data({'text/plain': 'raw'})
            """
        )
        self.assertEqual(run.stdout + run.stderr, "")
        shown = [frame["mime"] for frame in run.of("display")]
        self.assertEqual(shown[0], {"text/plain": "bold", "text/html": "<b>bold</b>"})
        self.assertEqual(["text/markdown" in mime for mime in shown], [False] * 5 + [True, False])
        self.run_ok("import IPython\nshell = IPython.core.interactiveshell.InteractiveShell")
        self.assertEqual(self.kernel.value("IPython.get_ipython(), shell.initialized()"), "(None, False)")


if __name__ == "__main__":
    unittest.main()
