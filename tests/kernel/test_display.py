"""Results and displays: bounded texts, rich representations, figures."""

from __future__ import annotations

import base64
import subprocess
import sys
import unittest

from harness import KernelTest

PYPLOT = """
import sys, types
class Figure:
    axes = [1]
    def __init__(self, number): self.number = number
    def get_size_inches(self): return (6.4, 4.8)
    def savefig(self, file, **_):
        if self.number == 13: raise ValueError('no ink')
        file.write(b'PNG%d' % self.number)
figures = {}
def figure(number): return figures.setdefault(number, Figure(number))
pyplot = types.ModuleType('matplotlib.pyplot')
pyplot.get_fignums = lambda: sorted(figures)
pyplot.figure = figure
pyplot.close = lambda f: figures.pop(f.number)
sys.modules['matplotlib.pyplot'] = pyplot
"""


class ResultTest(KernelTest):
    def test_results_json_cannot_hold(self):
        for code, text in (
            ("{1, 2}", "{1, 2}"),
            ("float('nan'), float('inf')", "(nan, inf)"),
            ("{b'k': 1, (1, 2): None}", "{b'k': 1, (1, 2): None}"),
            ("'\\ud800'", "'\\ud800'"),
            ("10 ** 400", "1" + "0" * 400),
            ("[[...], {}, set(), (1,), frozenset({1})]", "[[Ellipsis], {}, set(), (1,), frozenset({1})]"),
        ):
            run = self.run_ok(code)
            self.assertEqual(run.text, text)
            self.assertEqual(run.done["result"]["mime"], {"text/plain": text})
        self.assertEqual(self.kernel.value("x = [1]; x.append(x); y = {}; y['y'] = y; x, y"), "([1, [...]], {'y': {...}})")

    def test_huge_results_are_cut(self):
        for code in ("list(range(10_000_000))", "'x' * 200_000_000", "{n: n for n in range(1_000_000)}", "[[['abc'] * 1000] * 1000]"):
            run = self.run_ok(code)
            self.assertLess(len(run.text), 21_000)
            self.assertIn("left out", run.text)
        self.run_ok("class Long:\n    def __repr__(self): return 'x' * 1_000_000")
        run = self.run_ok("Long()")
        self.assertLess(len(run.text), 21_000)
        self.assertEqual(len(self.kernel.value("'y' * 10_000")), 10_002)
        self.assertIn("left out", self.kernel.value("10 ** 100_000 if 1 else 0"))

    def test_hostile_representations(self):
        self.run_ok(
            """
            class Raises:
                def __repr__(self): raise ValueError('no repr')
            class Exits:
                def __repr__(self): raise SystemExit
            class NoText:
                def __repr__(self): return 5
            class Prints:
                def __repr__(self): print('printed'); return 'P'
            class Text(str):
                def __repr__(self): return Text('subclass')
            class Recurses:
                def __repr__(self): return repr(self)
            class Rich:
                def __repr__(self): return 'plain'
                def _repr_html_(self): raise ValueError
                def _repr_markdown_(self): return 5
                def _repr_mimebundle_(self, include=None, exclude=None): 1/0
            class Liar:
                def __getattr__(self, name): return lambda *a, **k: 'lie'
                def __repr__(self): return 'liar'
            class LiarType(type):
                def __getattr__(cls, name): return lambda *a, **k: 'lie'
            class Lied(metaclass=LiarType):
                def __repr__(self): return 'lied'
            """
        )
        self.assertEqual(self.kernel.value("Raises()"), "<Raises object; its __repr__ raised ValueError: no repr>")
        self.assertIn("SystemExit", self.kernel.value("[Exits()]"))
        self.assertIn("TypeError", self.kernel.value("NoText()"))
        run = self.run_ok("Prints()")
        self.assertEqual((run.text, run.stdout), ("P", "printed\n"))
        self.assertEqual(self.kernel.value("Text('x')"), "subclass")
        self.assertIn("RecursionError", self.kernel.value("Recurses()"))
        self.assertEqual(self.run_ok("Rich()").done["result"]["mime"], {"text/plain": "plain"})
        for name in ("Liar()", "Lied()"):
            self.assertEqual(list(self.run_ok(name).done["result"]["mime"]), ["text/plain"])
        self.assertEqual(list(self.run_ok("import unittest.mock; unittest.mock.MagicMock()").done["result"]["mime"]), ["text/plain"])
        self.assertEqual(list(self.run_ok("Rich").done["result"]["mime"]), ["text/plain"])

    def test_rich_representations(self):
        self.run_ok(
            """
            class Table:
                def __repr__(self): return 'table'
                def _repr_html_(self): return '<table>'
                def _repr_png_(self): return b'\\x89PNG', {'width': 3}
                def _repr_json_(self): return {'a': [1, float('nan')], 2: b'x'}
                def _repr_latex_(self): return None
            class Bundle:
                def _repr_mimebundle_(self, include=None, exclude=None):
                    return {'text/plain': 'short', 'image/svg+xml': '<svg/>', 'image/jpeg': b'jpg'}, {}
            """
        )
        mime = self.run_ok("Table()").done["result"]["mime"]
        self.assertEqual(
            mime,
            {
                "text/plain": "table",
                "text/html": "<table>",
                "image/png": base64.b64encode(b"\x89PNG").decode(),
                "application/json": {"a": [1, None], "2": "eA=="},
            },
        )
        run = self.run_ok("Bundle()")
        self.assertEqual(run.text, "short")
        self.assertEqual(run.done["result"]["mime"]["image/svg+xml"], "<svg/>")

    def test_parts_beyond_any_frame_are_left_out(self):
        run = self.run_ok("class Big:\n    def _repr_html_(self): return 'x' * 40_000_000\nBig()")
        self.assertEqual(list(run.done["result"]["mime"]), ["text/plain"])
        self.assertIn("too large", run.text)


class ProtocolTest(KernelTest):
    """IPython's display protocol."""

    def mime(self, code: str) -> dict:
        return self.run_ok(code).done["result"]["mime"]

    def define(self, *methods: str) -> dict:
        """The mime bundle of an instance of a class with these methods."""
        body = "\n".join(f"    {line}" for method in methods for line in method.splitlines())
        return self.mime(f"class It:\n    def __repr__(self): return 'it'\n{body}\nIt()")

    def test_every_representation_method(self):
        methods = {
            "html": ("'<b>'", "text/html", "<b>"),
            "markdown": ("'*b*'", "text/markdown", "*b*"),
            "svg": ("'<svg/>'", "image/svg+xml", "<svg/>"),
            "png": ("b'png!'", "image/png", "cG5nIQ=="),
            "jpeg": ("b'jpg!'", "image/jpeg", "anBnIQ=="),
            "pdf": ("b'pdf!'", "application/pdf", "cGRmIQ=="),
            "json": ("{'a': (1, {'b': 2})}", "application/json", {"a": [1, {"b": 2}]}),
            "javascript": ("'x()'", "application/javascript", "x()"),
            "latex": ("'$x$'", "text/latex", "$x$"),
        }
        expected = {"text/plain": "it", **{mime: value for _, mime, value in methods.values()}}
        for metadata in ("", ", {'width': 1}"):
            source = [f"def _repr_{name}_(self): return {code}{metadata}" for name, (code, _, _) in methods.items()]
            self.assertEqual(self.define(*source), expected)

    def test_a_bundle_comes_first_and_methods_add_to_it(self):
        bundle = "def _repr_mimebundle_(self, include=None, exclude=None): return {'text/html': 'from the bundle'}"
        html = "def _repr_html_(self): return 'from the method'"
        latex = "def _repr_latex_(self): return '$x$'"
        expected = {"text/plain": "it", "text/html": "from the bundle", "text/latex": "$x$"}
        self.assertEqual(self.define(bundle, html, latex), expected)
        self.assertEqual(self.define(f"{bundle}, {{'text/html': {{}}}}", html, latex), expected)
        for parameters in ("self", "self, include", "self, **options", "self, *, exclude, other=1"):
            mime = self.define(bundle.replace("self, include=None, exclude=None", parameters))
            self.assertEqual(mime, {"text/plain": "it", "text/html": "from the bundle"}, parameters)
        for nonsense in (
            "5",
            "None",
            "()",
            "({}, {}, {})",
            "'text/html'",
            "[('text/html', 'x')]",
            "{5: 'x', 'text/html': None, 'text/plain': 7, 'a/b': object()}",
        ):
            mime = self.define(f"def _repr_mimebundle_(self, **_): return {nonsense}")
            self.assertEqual(mime, {"text/plain": "it"}, nonsense)

    def test_parts_are_of_their_type_or_left_out(self):
        self.run_ok("from collections import Counter, OrderedDict")
        for code, mime_type, value in (
            ("b'\\xc3\\xa9'", "text/html", "é"),
            ("b'\\xff'", "text/html", None),
            ("5", "text/html", None),
            ("['a']", "text/markdown", None),
            ("b'<svg/>'", "image/svg+xml", "<svg/>"),
            ("'cG5n\\nIQ==\\n'", "image/png", "cG5nIQ=="),
            ("'no base64!'", "image/png", None),
            ("'é'", "image/png", None),
            ("b''", "image/png", None),
            ("5", "image/png", None),
            ("bytearray(b'png!')", "image/png", "cG5nIQ=="),
            ("memoryview(b'png!')", "image/png", "cG5nIQ=="),
            ("'[1, 2]'", "application/json", [1, 2]),
            ("b'{\"a\": 1}'", "application/json", {"a": 1}),
            ("object()", "application/json", None),
            ("OrderedDict(a=Counter(b=1))", "application/vnd.x+json", {"a": {"b": 1}}),
            ("{'n': float('nan')}", "application/vnd.vegalite.v6.json", {"n": None}),
            ("b'zip!'", "application/zip", "emlwIQ=="),
            ("type('S', (str,), {'__str__': lambda s: 'lie'})('x')", "text/html", "x"),
        ):
            mime = self.define(f"def _repr_mimebundle_(self, **_): return {{{mime_type!r}: {code}}}")
            self.assertEqual(mime, {"text/plain": "it", **({} if value is None else {mime_type: value})}, code)

    def test_methods_count_where_they_are_defined(self):
        nothing = ("_repr_html_ = None", "_repr_svg_ = 5", "@property\ndef _repr_latex_(self): return 'x'")
        self.assertEqual(self.define(*nothing), {"text/plain": "it"})
        self.assertEqual(self.define("@property\ndef _repr_html_(self): return lambda: 'x'")["text/html"], "x")
        self.assertEqual(self.define("@staticmethod\ndef _repr_html_(): return 'x'")["text/html"], "x")
        self.assertEqual(self.define("def __init__(self): self._repr_html_ = lambda: 'x'")["text/html"], "x")
        self.assertEqual(self.define("def __getattr__(self, name): return lambda **_: 'x'"), {"text/plain": "it"})
        self.run_ok(
            """
            class Meta(type):
                def _repr_html_(cls): raise SystemExit
                def _ipython_display_(cls): print('!')
            class Value(metaclass=Meta):
                def _repr_html_(self): return 'x'
            """
        )
        run = self.run_ok("Value")
        self.assertEqual((list(run.done["result"]["mime"]), run.stdout), (["text/plain"], ""))
        self.assertEqual(self.mime("Value()")["text/html"], "x")

    def test_methods_that_fail_or_print(self):
        mime = self.define(
            "def _repr_html_(self): raise SystemExit",
            "def _repr_svg_(self): return self._repr_svg_()",
            "def _repr_latex_(self): 1/0",
            "async def _repr_png_(self): return b'x'",
            "def _repr_markdown_(self): print('printed'); return '*x*'",
        )
        self.assertEqual(mime, {"text/plain": "it", "text/markdown": "*x*"})

    def test_a_method_that_hangs_is_interrupted(self):
        self.run_ok(
            """
            class Hangs:
                def _repr_html_(self):
                    print('hanging', flush=True)
                    while True: pass
            """
        )
        for code in ("Hangs()", "display(Hangs())"):
            run = self.kernel.start(code).wait_output("hanging")
            self.kernel.interrupt()
            self.assertEqual(run.wait().status, "interrupted")
        self.assert_alive()

    def test_values_that_display_themselves(self):
        self.run_ok(
            """
            class Own:
                def __repr__(self): return 'own'
                def _ipython_display_(self): print('out'); display('shown')
                def _repr_html_(self): return '<b>'
            class Fails(Own):
                def _ipython_display_(self): raise NotImplementedError
            class Bundled(Own):
                def _repr_mimebundle_(self, **_): return {'text/html': '<i>'}
            class Recursive(Own):
                def _ipython_display_(self): display(self)
            """
        )
        run = self.run_ok("Own()")
        self.assertEqual((run.stdout, run.text, list(run.done["result"]["mime"])), ("out\n", "own", ["text/plain"]))
        self.assertEqual([frame["mime"] for frame in run.of("display")], [{"text/plain": "'shown'"}])
        self.assertEqual(len(self.run_ok("display(Own())").of("display")), 1)
        for name, html in (("Fails", "<b>"), ("Bundled", "<i>")):
            run = self.run_ok(f"{name}()")
            self.assertEqual(run.done["result"]["mime"], {"text/plain": "own", "text/html": html})
            self.assertEqual(run.of("display"), [])
        self.assertEqual(len(self.run_ok("Recursive();display(Recursive())").of("display")), 1)


class DisplayTest(KernelTest):
    def shown(self, code: str) -> list:
        return [frame["mime"] for frame in self.run_ok(code).of("display")]

    def test_raw_bundles(self):
        chart = {"$schema": "https://vega.github.io/schema/vega-lite/v5.json", "mark": "bar"}
        mime = {"application/vnd.vegalite.v5+json": chart, "text/plain": "a chart"}
        self.assertEqual(self.shown(f"display({mime!r}, raw=True)"), [mime])
        html = "<p>1 &lt; 2<script>x</script>"
        shown = self.shown(f"display({{'image/png': b'png!'}}, {{'text/html': {html!r}}}, raw=True)")
        self.assertEqual(shown[0], {"text/plain": "<image/png>", "image/png": "cG5nIQ=="})
        self.assertEqual(shown[1], {"text/plain": "1 < 2", "text/html": html})
        self.assertEqual(self.shown("display({}, {'text/html': 5}, raw=True)"), [])
        self.run_error("display(5, raw=True)", "TypeError")

    def test_mime_types_are_chosen(self):
        self.run_ok(
            """
            asked = []
            class Both:
                def __repr__(self): return 'both'
                def _repr_html_(self): asked.append('html'); return '<b>'
                def _repr_latex_(self): asked.append('latex'); return '$x$'
            """
        )
        for options, kept in (
            ("include=['text/html']", {"text/plain": "both", "text/html": "<b>"}),
            ("include='text/latex'", {"text/plain": "both", "text/latex": "$x$"}),
            ("include=['text/plain']", {"text/plain": "both"}),
            ("exclude={'text/html'}", {"text/plain": "both", "text/latex": "$x$"}),
            ("exclude=['text/plain', 'text/html']", {"text/latex": "$x$"}),
            ("include=[], exclude=()", {"text/plain": "both", "text/html": "<b>", "text/latex": "$x$"}),
        ):
            self.assertEqual(self.shown(f"display(Both(), {options})"), [kept], options)
        self.assertEqual(self.kernel.value("asked.clear(); display(Both(), include=['text/html']); asked"), "['html']")
        self.assertEqual(self.shown("display(1, exclude=['text/plain'])"), [{"text/plain": "1"}])

    def test_updates_as_notebooks_write_them(self):
        run = self.run_ok(
            """
            from execute_code import clear_output, update_display
            handle = display(display_id=True)
            handle.update(1)
            handle.display(2)
            display('x', display_id='named', metadata={}, clear=True)
            update_display('y', display_id='named')
            display('z', transient={'display_id': 'named'}, update=True)
            clear_output(wait=True)
            """
        )
        seen = [(frame["display_id"], frame["update"], frame["mime"]["text/plain"]) for frame in run.of("display")]
        first = seen[0][0]
        self.assertEqual(seen, [
            (first, False, ""), (first, True, "1"), (first, False, "2"),
            ("named", False, "'x'"), ("named", True, "'y'"), ("named", True, "'z'"),
        ])

    def test_a_forked_process_shows_texts(self):
        run = self.run_ok(
            """
            import os, sys
            if os.fork() == 0:
                display({'text/html': '<b>x'}, raw=True); sys.stdout.flush(); os._exit(0)
            _ = os.wait()
            """
        )
        self.assertEqual((run.stdout, run.of("display")), ("x\n", []))

    def test_displays_come_in_order(self):
        run = self.run_ok("for n in range(3): display(n)\nec.display('x', [1])")
        self.assertEqual([frame["mime"]["text/plain"] for frame in run.of("display")], ["0", "1", "2", "'x'", "[1]"])
        self.assertTrue(all(frame["display_id"] is None and frame["update"] is False for frame in run.of("display")))

    def test_displays_can_be_replaced(self):
        run = self.run_ok("h = display(1, display_id=True)\nh.update(2)\ndisplay(3, display_id=h.display_id, update=True)")
        frames = run.of("display")
        self.assertEqual([frame["update"] for frame in frames], [False, True, True])
        self.assertEqual(len({frame["display_id"] for frame in frames}), 1)
        self.run_error("display(1, update=True)", "TypeError")

    def test_figures_are_shown_and_closed(self):
        self.run_ok(PYPLOT)
        run = self.run_ok("pyplot.figure(1); pyplot.figure(2);")
        images = [base64.b64decode(frame["mime"]["image/png"]) for frame in run.of("display")]
        self.assertEqual(images, [b"PNG1", b"PNG2"])
        self.assertEqual(self.run_ok("figures").text, "{}")
        run = self.run_error("pyplot.figure(3); 1/0", "ZeroDivisionError")
        self.assertEqual(len(run.of("display")), 1)
        self.assertIn("no ink", self.run_ok("pyplot.figure(13);").of("display")[0]["mime"]["text/plain"])

    def test_nothing_is_imported_that_no_cell_asked_for(self):
        self.run_ok("1/1; [1]")
        names = ("asyncio", "inspect", "dataclasses", "socket", "multiprocessing", "matplotlib", "numpy", "typing", "random", "tempfile", "subprocess")
        code = f"import sys; [m for m in {names!r} if m in sys.modules]"
        # What the interpreter's own site configuration imports is not the kernel's doing.
        bare = subprocess.run([sys.executable, "-I", "-c", f"print({code.split(';')[1]})".replace("sys.", "__import__('sys').")], capture_output=True, text=True)
        self.assertEqual(self.kernel.value(code), bare.stdout.strip())


class ApiTest(KernelTest):
    def test_ec_is_there_and_importable(self):
        self.assertEqual(self.kernel.value("import execute_code; execute_code is ec"), "True")
        names = {"display", "update_display", "clear_output", "history", "progress"}
        self.assertEqual(self.kernel.value(f"{names!r} - set(vars(ec))"), "set()")
        self.assertEqual(self.run_ok("ec.x = 1").names("added"), [])

    def test_progress_is_limited_and_its_last_report_arrives(self):
        run = self.run_ok("for n in range(10_000): ec.progress(n, 20_000, f'step {n}')")
        frames = run.of("progress")
        self.assertLess(len(frames), 50)
        self.assertEqual((frames[-1]["done"], frames[-1]["total"], frames[-1]["message"]), (9999, 20_000, "step 9999"))
        self.assertEqual(run.frames[-1]["type"], "done")
        frames = self.run_ok("ec.progress(0.5)\nec.progress(1, 1)\nec.progress(2, 2)").of("progress")
        self.assertEqual([(frame["done"], frame["total"]) for frame in frames], [(0.5, None), (1, 1), (2, 2)])
        self.run_error("ec.progress(float('nan'))", "ValueError")

    def start_history(self, code: str):
        run = self.kernel.start(code)
        self.box.pump_until(lambda: run.of("call"), "the call")
        return run, run.of("call")[0]

    def test_history_asks_and_waits(self):
        run, call = self.start_history("ec.history('fit', limit=2)")
        self.assertEqual((call["method"], call["params"]), ("history", {"query": "fit", "limit": 2}))
        self.kernel.send({"type": "inspect", "request": "early", "name": None, "depth": 1})
        self.kernel.send({"type": "reply", "request": "stale", "value": 1, "error": None})
        self.kernel.send({"type": "reply", "request": call["request"], "value": [{"id": "exec_1", "code": "é"}], "error": None})
        self.assertEqual(run.wait().text, "[{'id': 'exec_1', 'code': 'é'}]")
        self.box.pump_until(lambda: any(f.get("request") == "early" for f in self.kernel.frames if f["type"] == "inspected"), "the inspection")

    def test_history_raises_what_the_platform_objects_to(self):
        run, call = self.start_history("ec.history()")
        self.kernel.send({"type": "reply", "request": call["request"], "value": None, "error": "the store is closed"})
        self.assertEqual(run.wait().error["type"], "RuntimeError")
        self.assertEqual(run.error["message"], "the store is closed")

    def test_history_can_be_interrupted_and_a_late_reply_harms_nothing(self):
        run, call = self.start_history("ec.history()")
        self.kernel.interrupt()
        self.assertEqual(run.wait().status, "interrupted")
        self.kernel.send({"type": "reply", "request": call["request"], "value": [], "error": None})
        self.assert_alive()

    def test_history_from_a_thread(self):
        code = "import threading\nfound = []\nt = threading.Thread(target=lambda: found.append(ec.history()))\nt.start(); t.join()\nfound"
        run, call = self.start_history(code)
        self.kernel.send({"type": "reply", "request": call["request"], "value": [], "error": None})
        self.assertEqual(run.wait().text, "[[]]")
        run = self.run_ok("go = threading.Event()\ndef later():\n    go.wait(); found.append(ec.history(limit=1))\nt = threading.Thread(target=later, daemon=True); t.start()\nimport _thread\n_thread.start_new_thread(lambda: (__import__('time').sleep(0.05), go.set()), ())")
        self.box.pump_until(lambda: len([f for f in self.kernel.frames if f["type"] == "call"]) == 2, "the late call")
        late = [f for f in self.kernel.frames if f["type"] == "call"][1]
        self.kernel.send({"type": "reply", "request": late["request"], "value": 5, "error": None})
        self.assertEqual(self.kernel.value("t.join(5); found"), "[[], 5]")


if __name__ == "__main__":
    unittest.main()
