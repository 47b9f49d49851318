"""Capture and restore: components, phases, limits, damage, the state of Python itself."""

from __future__ import annotations

import hashlib
import json
import unittest
from pathlib import Path

from capture_support import CaptureTest
from harness import KernelTest


class ComponentTest(CaptureTest):
    def test_what_shares_is_together_and_nothing_else(self) -> None:
        found = self.take("a = []; b = {'k': a}; c = (1, a); d = []; e = 'text'; f = e; g = (1, 2); h = g")
        self.assertEqual({found[name]["component"] for name in "abc"}, {found["a"]["component"]})
        self.assertEqual(len({found[name]["component"] for name in "adefgh"}), 6)

    def test_definitions_do_not_connect(self) -> None:
        found = self.take("class A:\n    def f(self): return helper()\ndef helper(): return 1\nx = A(); y = A(); z = A.f; t = [A]")
        self.assertEqual(len({found[name]["component"] for name in ("A", "helper", "x", "y", "z", "t")}), 6)

    def test_a_new_variable_changes_no_other_blob(self) -> None:
        first = self.take("x = [1]\nclass A:\n    def f(self): return lambda: x\na = A(); g = a.f(); big = {i: str(i) for i in range(1000)}")
        digests = {name: one["digest"] for name, one in first.items()}
        more = self.run_step(
            restore=[], cells=["aa = lambda: 0\nclass AA: pass\nnew = {'n': aa}"], take={}
        )["manifest"]["variables"]
        again = {one["name"]: one["digest"] for one in more}
        self.assertEqual({name: again[name] for name in digests}, digests)

    def test_digests_tell_what_is_live(self) -> None:
        cells = "a = [1]; b = {'k': a}; c = [2]"
        found = self.take(cells)
        live = self.run_step(cells=[cells, "c.append(3)"], digests=None)["digests"]
        self.assertEqual(live["a"], found["a"]["digest"])
        self.assertNotEqual(live["c"], found["c"]["digest"])

    def test_what_refuses_names_the_place(self) -> None:
        found = self.take(
            "class Box: pass\nx = Box(); x.rows = {'all': [1, 2, (i for i in [])]}\n"
            "class Bad:\n    made = (i for i in [])\nobj = Bad(); uses = [obj]\nfine = [1]"
        )
        self.assertEqual(found["x"]["reason"], "cannot pickle 'generator' object at x.rows['all'][2]")
        self.assertEqual(found["Bad"]["reason"], "it needs the class Bad: cannot pickle 'generator' object at Bad.made")
        self.assertIn("class Bad", found["uses"]["reason"])
        self.assertEqual(found["fine"]["status"], "captured")

    def test_what_shares_with_a_refusal_is_captured_without_it(self) -> None:
        self.take("shared = [1]; bad = [shared, (i for i in [])]; good = {'s': shared}")
        reports = self.restore("assert good['s'] is shared and 'bad' not in globals()")
        self.assertEqual(reports["bad"]["outcome"], "lost")
        self.assertEqual(reports["good"]["outcome"], "restored")
        # Also when it came first.
        self.take("bad = [[1], (i for i in [])]; shared = bad[0]; good = {'s': shared}; class_ = type('C', (), {'a': shared})")
        self.restore("assert good['s'] is shared is class_.a and 'bad' not in globals()")

    def test_names_of_python_are_left_alone(self) -> None:
        found = self.take("__secret__ = 1; _x = 2; import json")
        self.assertEqual(sorted(found), ["_x", "json"])


class PhaseTest(CaptureTest):
    def test_definitions_are_shared_between_phases(self) -> None:
        self.take("class A:\n    n = [0]\ndef f(): return A\na = A(); b = A(); shared = []; c = [shared]; d = [shared]")
        answer = self.run_step(
            restore=[],
            phases=[["a"], ["b", "c"], None],
            cells=["assert type(a) is type(b) is A is f() and c[0] is d[0] is shared"],
        )
        self.assertEqual([[one["name"] for one in phase] for phase in answer["phases"][:2]], [["a"], ["b", "c"]])
        self.assertTrue(all(one["outcome"] == "restored" for phase in answer["phases"] for one in phase))

    def test_only_some_names(self) -> None:
        self.take("def g(): return 1\nclass A:\n    def f(self): return g()\na = A(); other = [1]")
        self.restore("assert type(a).__name__ == 'A' and 'other' not in globals() and 'A' not in globals()", names=["a"])

    def test_a_variable_is_restored_anew_and_not_twice(self) -> None:
        self.take("a = [1]; b = [a]")
        self.run_step(restore=[], phases=[["a"], None], cells=["assert b[0] is a"])


class CountingTest(CaptureTest):
    """Objects that are made again by code which keeps count of them."""

    CODE = (
        "made = 0; stats = dict(made=0)\nclass V:\n    made = 0\n    seen = []\n"
        "    def __init__(self, x):\n        global made\n        self.x = x; V.made += 1; made += 1{}\n"
        "    def __reduce__(self): return (V, (self.x,))\nv = V(1); w = V(2)"
    )

    def test_names_and_attributes_are_what_they_were(self) -> None:
        self.take(self.CODE.format(""))
        reports = self.restore("assert V.made == made == 2 and v.x == 1 and V.seen == [] and stats == {'made': 0}")
        self.assertEqual({one["reason"] for one in reports.values()}, {None})

    def test_what_else_they_change_is_told(self) -> None:
        self.take(self.CODE.format("; stats['made'] += 1"), again=False)
        self.assertIn("has changed it", self.restore("assert stats['made'] == 4 and made == 2")["stats"]["reason"])
        self.take(self.CODE.format("; V.seen.append(x)"), again=False)
        reports = self.restore("assert V.seen == [1, 2, 1, 2]")
        self.assertIn("has changed it", reports["V"]["reason"])
        self.assertIsNone(reports["stats"]["reason"])

    def test_a_class_that_was_there_before(self) -> None:
        self.take(self.CODE.format(""), "w = (w, [])", again=False)
        self.run_step(restore=[], phases=[["V", "v"], None], cells=["assert V.made == made == 2 and w[0].x == 2"])


class LimitTest(CaptureTest):
    def test_a_reduction_that_hangs(self) -> None:
        hanging = "class A:\n    def __reduce__(self):\n        while True:\n            try:\n                while True: pass\n            except Exception: pass\n"
        found = self.take(hanging + "a = A(); b = [a]; fine = [1]", limits={"component_seconds": 0.3}, again=False)
        for name in "ab":
            self.assertIn("too long", found[name]["reason"])
        self.assertEqual(found["fine"]["status"], "captured")
        self.assertIn(["a"], self.taken["worked_on"])

    def test_a_state_that_hangs_when_it_is_read(self) -> None:
        found = self.take(
            "class A:\n    def __setstate__(self, s):\n        while True: pass\na = A(); a.x = 1; fine = [1]",
            limits={"component_seconds": 0.3},
            again=False,
        )
        self.assertEqual(found["fine"]["status"], "captured")
        self.assertEqual(found["a"]["status"], "skipped")
        self.assertIn("read back", found["a"]["reason"])

    def test_all_of_the_time(self) -> None:
        found = self.take("import time\nclass A:\n    def __reduce__(self):\n        time.sleep(0.2)\n        return (list, ())\na, b, c = A(), A(), A()", limits={"seconds": 0.3}, again=False)
        self.assertIn("time", found["c"]["reason"])

    def test_bytes_of_a_variable_and_of_all(self) -> None:
        found = self.take("big = b'x' * 100_000; endless = [b'y' * 100] * 3; a = b'1' * 4000; b = b'2' * 4000; c = b'3' * 4000", limits={"variable_bytes": 50_000, "total_bytes": 11_000})
        self.assertIn("more than 50000 bytes", found["big"]["reason"])
        self.assertEqual([found[name]["status"] for name in ("endless", "a", "b", "c")], ["captured", "captured", "captured", "skipped"])
        self.assertIn("the capture has reached 11000 bytes", found["c"]["reason"])

    def test_skipped_names(self) -> None:
        found = self.take("a = [1]; b = [a]", skip={"a": "it ended the last capture"})
        self.assertEqual((found["a"]["status"], found["a"]["reason"]), ("skipped", "it ended the last capture"))
        reports = self.restore("assert b == [[1]]")
        self.assertEqual(reports["a"]["reason"], "it ended the last capture")


class DamageTest(CaptureTest):
    def blob(self, name: str) -> Path:
        digest = next(one["digest"] for one in self.taken["manifest"]["variables"] if one["name"] == name)
        return Path(self.folder) / "blobs" / digest

    def test_only_what_needs_a_damaged_blob_is_lost(self) -> None:
        self.take("a = list(range(1000)); b = list(range(2000)); c = list(range(3000))")
        blob = self.blob("a")
        data = bytearray(blob.read_bytes())
        data[len(data) // 2] ^= 1
        blob.write_bytes(data)
        self.blob("b").unlink()
        reports = self.restore("assert len(c) == 3000 and 'a' not in globals()")
        self.assertEqual([reports[name]["reason"] for name in "abc"], ["its capture is damaged", "its capture is damaged", None])

    def test_a_truncated_blob(self) -> None:
        self.take("a = list(range(1000))")
        blob = self.blob("a")
        blob.write_bytes(blob.read_bytes()[:100])
        self.assertEqual(self.restore("0")["a"]["reason"], "its capture is damaged")

    def test_a_blob_whose_digest_holds_but_whose_header_is_no_json(self) -> None:
        self.take("a = list(range(1000)); b = [2]")
        blob = self.blob("a")
        data = bytearray(blob.read_bytes())
        data[8:9] = b"?"
        digest = hashlib.sha256(data).hexdigest()
        (blob.parent / digest).write_bytes(data)
        manifest = blob.parent / "manifest.json"
        manifest.write_text(manifest.read_text().replace(blob.name, digest))
        reports = self.restore("assert b == [2]")
        self.assertEqual(reports["a"]["reason"], "its capture is damaged")

    def test_sources_that_are_gone(self) -> None:
        self.take("def f(): return 1\n" + "# " + "x" * 300, "n = [1]")
        for digest in self.taken["manifest"]["sources"].values():
            (Path(self.folder) / "blobs" / digest).unlink()
        reports = self.restore("assert n == [1]")
        self.assertIn("source", reports["f"]["reason"])

    def test_a_class_that_is_lost_takes_its_objects_with_it(self) -> None:
        self.take("class A:\n    big = list(range(1000))\na = [A()]; fine = 1")
        manifest = self.taken["manifest"]
        for component in manifest["components"]:
            if "c:A" in component["roots"]:
                (Path(self.folder) / "blobs" / component["digest"]).unlink()
        reports = self.restore("assert fine == 1")
        self.assertIn("damaged", reports["a"]["reason"])

    def test_modules_that_are_not_there(self) -> None:
        self.take("open('mine.py', 'w').write('class T: pass\\nX = T()')\nimport sys; sys.path.insert(0, '')\nimport mine\nt = mine.T(); fine = 1", "import os; os.remove('mine.py')")
        reports = self.restore("assert fine == 1")
        for name in ("mine", "t"):
            self.assertIn("the module mine cannot be imported", reports[name]["reason"])

    def test_manifests_of_another_version(self) -> None:
        self.take("a = 1")
        file = Path(self.folder) / "blobs" / "manifest.json"
        file.write_text(json.dumps({**self.taken["manifest"], "version": 2}))
        from capture_support import run_steps

        self.assertIn("another version", run_steps([self.step(restore=[])])[0]["error"])


class VerificationTest(CaptureTest):
    def test_ordinary_variables_are_compared_with_their_blobs(self) -> None:
        self.take("a = [1, {'k': (2.5, 'x')}]\ndef f(n=a): return n\nclass A:\n    def __init__(self): self.x = 1\no = A()\ns = {'a', 'b', 'c'}")
        reports = self.restore("0")
        self.assertEqual([reports[name]["by"] for name in ("a", "f", "A", "o")], ["content"] * 4)
        self.assertEqual((reports["s"]["verified"], reports["s"]["by"]), (True, "digest"))


class LanguageTest(CaptureTest):
    def test_state_of_python(self) -> None:
        self.take(
            "from __future__ import annotations\nimport os, sys, random, decimal, logging\n"
            "os.makedirs('sub', exist_ok=True); os.chdir('sub'); os.environ['ADDED'] = 'é\\n\"'; os.environ.pop('HOME', None)\n"
            "sys.path.insert(0, '/extra'); sys.path.append('/last'); sys.setrecursionlimit(2345)\n"
            "decimal.getcontext().prec = 50; random.seed(5); expected = random.Random(5).random()\n"
            "logging.basicConfig(level=logging.DEBUG, format='%(message)s')"
        )
        reports = self.restore(
            "import os, sys, random, decimal, logging\n"
            "assert os.path.basename(os.getcwd()) == 'sub' and os.environ['ADDED'] == 'é\\n\"' and 'HOME' not in os.environ\n"
            "assert sys.path[0] == '/extra' and sys.path[-1] == '/last' and sys.getrecursionlimit() == 2345\n"
            "assert decimal.getcontext().prec == 50 and random.random() == expected\n"
            "assert logging.root.level == 10 and logging.root.handlers[0].formatter._fmt == '%(message)s'\n"
            "def f(x: Undefined): pass\nassert f.__annotations__ == {'x': 'Undefined'}"
        )
        for name in ("sys.path", "os.getcwd()", "os.environ", "random", "decimal", "logging"):
            self.assertEqual(reports[name]["outcome"], "restored", name)

    def test_a_folder_that_is_gone(self) -> None:
        self.take("import os, tempfile\nd = tempfile.mkdtemp(); os.chdir(d)", "os.rmdir(d) if False else None")
        folder = self.taken["manifest"]["language"]["plain"]["cwd"]
        Path(folder).rmdir()
        reports = self.restore("1")
        self.assertEqual((reports["os.getcwd()"]["outcome"], reports["os.getcwd()"]["reason"]), ("lost", f"the folder {folder} is not there"))


class FileTest(CaptureTest):
    def test_a_capture_leaves_open_files_as_they_are(self) -> None:
        answer = self.run_step(
            cells=[
                "open('t.txt', 'w').write('line\\n' * 9000)\nr = open('t.txt'); r.readline()\nb = open('t.txt', 'r+b'); b.read(3)\n"
                "t = open('t.txt', 'r+'); t.readline()\nw = open('w.txt', 'w'); w.write('pending')"
            ],
            take={},
            check="[r.readline(), b.read(2).decode(), t.readline(), w.write('!'), w.flush(), open('w.txt').read()]",
        )
        self.assertEqual(answer["value"], ["line\n", "e\n", "line\n", 1, None, "pending!"])

    def test_files_that_changed_since(self) -> None:
        self.take("open('t.txt', 'w').write('text')\nf = open('t.txt'); g = open('u.txt', 'w'); g.write('12345'); g.flush()")
        work = Path(self.folder) / "work"
        (work / "t.txt").write_text("other text")
        (work / "u.txt").write_text("1")
        reports = self.restore("assert open('u.txt').read() == '1'")
        self.assertIn("changed or replaced", reports["f"]["reason"])
        self.assertIn("shorter", reports["g"]["reason"])


class KernelImportTest(KernelTest):
    def test_a_kernel_does_not_import_it_at_its_start(self) -> None:
        self.assertEqual(self.kernel.value("import sys; [n for n in sys.modules if n.startswith('execute_code_kernel.capture')]"), "[]")


if __name__ == "__main__":
    unittest.main()
