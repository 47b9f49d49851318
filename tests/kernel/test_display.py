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
        self.assertEqual(self.run_ok("Rich()").done["result"]["mime"], {"text/plain": "plain", "text/markdown": 5})
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


class DisplayTest(KernelTest):
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
        self.assertEqual(self.kernel.value("sorted(n for n in vars(ec) if not n.startswith('_'))"), "['display', 'history', 'progress']")
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
