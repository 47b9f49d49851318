"""The namespace between cells: sources, hints, pickles, definitions anew, modules, folders, the environment."""

from __future__ import annotations

import unittest

from harness import KernelTest


class SourceTest(KernelTest):
    def source(self, expression: str) -> str:
        return eval(self.run_ok(f"import inspect\ninspect.getsource({expression})").text)

    def test_of_functions(self):
        for code, expression, text in (
            ("def f(x):\n    # a comment\n    return x", "f", "def f(x):\n    # a comment\n    return x\n"),
            ("x = 1\n\n\ndef g(): pass\ny = 2", "g", "def g(): pass\n"),
            ("async def h():\n    return 1", "h", "async def h():\n    return 1\n"),
            ("add = lambda a, b: a + b", "add", "add = lambda a, b: a + b\n"),
            ("def deco(f): return f\n@deco\ndef d():\n    pass", "d", "@deco\ndef d():\n    pass\n"),
            ("import functools\ndef wraps(f):\n    @functools.wraps(f)\n    def inner(): return f()\n    return inner\n@wraps\ndef w(): 'doc'", "w", "@wraps\ndef w(): 'doc'\n"),
            ("def outer():\n    def inner():\n        return 1\n    return inner\nclosure = outer()", "closure", "    def inner():\n        return 1\n"),
            ("class A:\n    def m(self):\n        return 1", "A.m", "    def m(self):\n        return 1\n"),
            ("a = A()", "a.m", "    def m(self):\n        return 1\n"),
            ("def é(): return 'ü'", "é", "def é(): return 'ü'\n"),
            ("def crlf():\r\n    return 1\r\n", "crlf", None),
            ("def gen():\n    yield 1\nrunning = gen()", "running.gi_code", "def gen():\n    yield 1\n"),
        ):
            self.run_ok(code)
            found = self.source(expression)
            if text is not None:
                self.assertEqual(found, text, code)

    def test_of_functions_defined_anew(self):
        self.run_ok("def f(): return 'first'\nold = f")
        self.run_ok("def f(): return 'second'")
        self.assertEqual((self.source("old"), self.source("f")), ("def f(): return 'first'\n", "def f(): return 'second'\n"))
        self.run_error("def f(): return 'third'\n1/0", "ZeroDivisionError")
        self.assertEqual(self.source("f"), "def f(): return 'third'\n")
        self.run_ok("import types\ncopied = types.FunctionType(old.__code__, globals())")
        self.assertEqual(self.source("copied"), "def f(): return 'first'\n")

    def test_of_classes(self):
        self.run_ok("x = 1\nclass A:\n    'doc'\n    def m(self): pass\n\nclass B(A):\n    class Inner:\n        y = 1\n")
        self.run_ok("import dataclasses\n@dataclasses.dataclass\nclass D:\n    x: int = 1")
        self.assertEqual(self.source("A"), "class A:\n    'doc'\n    def m(self): pass\n")
        self.assertEqual(self.source("B.Inner"), "    class Inner:\n        y = 1\n")
        self.assertEqual(self.source("D"), "@dataclasses.dataclass\nclass D:\n    x: int = 1\n")

    def test_after_linecache_was_checked(self):
        self.run_ok("def f(): return 1")
        self.run_ok("import linecache; linecache.checkcache()")
        self.assertEqual(self.source("f"), "def f(): return 1\n")

    def test_after_linecache_was_cleared(self):
        self.run_ok("def f(): return 1")
        for code in ("import linecache; linecache.clearcache()", "linecache.cache = {}"):
            self.run_ok(code)
            self.assertEqual(self.source("f"), "def f(): return 1\n")

    def test_what_else_looks_at_sources(self):
        self.run_ok("def add(a: int, b=2, *rest, c, **more) -> int:\n    'Adds.'\n    return a + b")
        for code, text in (
            ("import inspect; str(inspect.signature(add))", "'(a: int, b=2, *rest, c, **more) -> int'"),
            ("inspect.getdoc(add), inspect.getmodule(add).__name__", "('Adds.', '__main__')"),
            ("inspect.currentframe().f_lineno", "1"),
            ("inspect.stack()[0].code_context[0].strip()[:15]", "'inspect.stack()'"),
            ("import pydoc; 'Adds.' in pydoc.render_doc(add)", "True"),
            ("import dis, io; out = io.StringIO(); dis.dis(add, file=out); 'RETURN_VALUE' in out.getvalue()", "True"),
            ("import doctest\ndef t():\n    '''\n    >>> t()\n    1\n    '''\n    return 1\ndoctest.testmod()", "TestResults(failed=0, attempted=1)"),
        ):
            self.assertEqual(self.run_ok(code).text, text, code)
        self.assertIn("add(a: int", self.run_ok("help(add)").stdout)


class DefinitionTest(KernelTest):
    """`__main__` is a real module: what cells define pickles, is typed and is found like any module's."""

    def test_hints(self):
        self.run_ok(
            """
            import dataclasses, typing
            @dataclasses.dataclass
            class Node:
                value: int
                next: 'typing.Optional[Node]' = None
                later: 'Later' = None
            def link(a: 'Node', b: 'Later') -> 'list': ...
            class Record(typing.TypedDict):
                n: 'Node'
            """
        )
        self.run_error("typing.get_type_hints(link)", "NameError")
        self.run_ok("class Later: pass")
        self.assertEqual(self.kernel.value("typing.get_type_hints(link)['b'] is Later, typing.get_type_hints(Node)['later'] is Later"), "(True, True)")
        self.assertEqual(self.kernel.value("typing.get_type_hints(Record)['n'] is Node"), "True")
        self.run_ok("from __future__ import annotations\n@dataclasses.dataclass\nclass New:\n    a: Undefined = 1\n    b: typing.ClassVar[int] = 2\n    c: dataclasses.InitVar[int] = 3")
        self.assertEqual(self.kernel.value("New(), [f.name for f in dataclasses.fields(New)]"), "(New(a=1), ['a'])")
        self.assertEqual(self.kernel.value("dataclasses.make_dataclass('Made', ['x'])(1)"), "Made(x=1)")
        self.run_ok("T = typing.TypeVar('T')\nclass G(typing.Generic[T]): pass\nclass P(typing.Protocol):\n    def m(self): ...\nN = typing.NamedTuple('N', [('a', int)])")
        self.assertEqual(self.kernel.value("typing.get_args(G[int]), N(1), N.__module__"), "((<class 'int'>,), N(a=1), '__main__')")

    def test_pickles(self):
        self.run_ok(
            """
            import collections, copy, dataclasses, enum, functools, pickle, typing
            class Plain:
                class Inner:
                    def __eq__(self, other): return type(self) is type(other)
                @classmethod
                def make(cls): return cls()
                def method(self): return 'called'
            @dataclasses.dataclass(frozen=True)
            class Point:
                x: int
            class Colour(enum.Enum):
                RED = 1
            class Flags(enum.Flag):
                A = 1
                B = 2
            Pair = collections.namedtuple('Pair', 'a b')
            class Failure(Exception): pass
            class Slots:
                __slots__ = ('x',)
            def function(): return 5
            def same(value): return pickle.loads(pickle.dumps(value))
            """
        )
        for expression in (
            "same(Point(1)) == Point(1)",
            "same(Colour.RED) is Colour.RED",
            "same(Flags.A | Flags.B) == Flags.A | Flags.B",
            "same(Pair(1, 2)) == Pair(1, 2)",
            "type(same(Plain())) is Plain",
            "same(Plain.Inner()) == Plain.Inner()",
            "same(Plain) is Plain and same(Plain.Inner) is Plain.Inner",
            "same(function) is function",
            "same(functools.partial(function))() == 5",
            "same(Plain().method)() == 'called'",
            "type(same(Plain.make)()) is Plain",
            "type(same(Failure('x'))) is Failure and same(Failure('x')).args == ('x',)",
            "type(same(Slots())) is Slots",
            "copy.deepcopy([function, Colour.RED, Point(2)]) == [function, Colour.RED, Point(2)]",
            "same(collections.defaultdict(list, {1: [2]})) == {1: [2]}",
            "(lambda s: same(s) == s)({1, 2})",
        ):
            self.assertEqual(self.kernel.value(expression), "True", expression)
        for code, kind in (
            ("pickle.dumps(lambda: 1)", "PicklingError"),
            ("pickle.dumps(x for x in [])", "TypeError"),
            ("pickle.dumps(open('/dev/null'))", "TypeError"),
            ("import threading\npickle.dumps(threading.Lock())", "TypeError"),
            ("import types, sys\npickle.dumps(sys)", "TypeError"),
        ):
            self.run_error(code, kind)
        self.run_ok("old = Plain()\nclass Plain: pass")
        self.run_error("pickle.dumps(old)", "PicklingError")
        self.assertEqual(self.kernel.value("isinstance(old, Plain), type(old).__name__, old.method()"), "(False, 'Plain', 'called')")

    def test_between_kernels(self):
        define = "import dataclasses, pickle\n@dataclasses.dataclass\nclass Point:\n    x: int\n    def double(self): return self.x * FACTOR\nFACTOR = 2"
        self.run_ok(define + "\nwith open('point', 'wb') as file: pickle.dump(Point(4), file)")
        other = self.box.fork()
        other.run(define.replace("FACTOR = 2", "FACTOR = 3"))
        self.assertEqual(other.value("pickle.load(open('point', 'rb')).double()"), "12")
        self.assertEqual(self.box.fork().run("import pickle\npickle.load(open('point', 'rb'))").error["type"], "AttributeError")

    def test_definitions_anew(self):
        for before, after, expression, text in (
            ("def f(): return g()\ndef g(): return 1", "def g(): return 2", "f()", "2"),
            ("class B:\n    def hi(self): return 1\nb = B()", "class B:\n    def hi(self): return 2", "b.hi(), B().hi(), isinstance(b, B)", "(1, 2, False)"),
            ("class P: pass\nclass C(P): pass", "class P: pass", "issubclass(C, P)", "False"),
            ("x = 1\ndef read(): return x", "x = 2", "read()", "2"),
            ("def default(n=[]): n.append(1); return n\ndefault()", "def default(n=[]): n.append(1); return n", "default()", "[1]"),
            ("import math as m", "m = 5", "m", "5"),
            ("import functools\n@functools.lru_cache\ndef slow(): return calls.append(1)\ncalls = []\nslow(); slow()", "slow()", "len(calls)", "1"),
            ("def counter():\n    n = 0\n    def up():\n        nonlocal n; n += 1; return n\n    return up\nup = counter(); up()", "up()", "up()", "3"),
            ("squares = (n * n for n in range(9)); next(squares)", "next(squares)", "next(squares)", "4"),
        ):
            self.run_ok(before)
            self.run_ok(after)
            self.assertEqual(self.kernel.value(expression), text, before)

    def test_deletions(self):
        run = self.run_ok("x = 1; y = [2]; z = x\ndef f(): return x")
        self.assertEqual(run.names("added"), ["f", "x", "y", "z"])
        self.assertEqual(self.run_ok("del x").names("deleted"), ["x"])
        self.run_error("x", "NameError")
        self.run_error("f()", "NameError")
        self.assertEqual(self.run_ok("x = 3").names("added"), ["x"])
        self.assertEqual(self.kernel.value("f(), z"), "(3, 1)")
        self.assertEqual(self.run_ok("for name in ('x', 'y'): del globals()[name]").names("deleted"), ["x", "y"])
        self.run_error("del nothing", "NameError")
        self.assertEqual(self.run_ok("with open('/dev/null') as file: pass\nfor i in range(3): pass").names("added"), ["file", "i"])
        self.run_error("try: 1/0\nexcept ZeroDivisionError as e: pass\ne", "NameError")

    def test_the_main_module(self):
        for expression, text in (
            ("__name__, __doc__, __spec__, '__file__' in globals()", "('__main__', None, None, False)"),
            ("import sys, __main__; vars(__main__) is globals(), sys.modules['__main__'] is __main__", "(True, True)"),
            ("sys.argv, sys.flags.interactive", "([''], 0)"),
            ("eval('__name__'), (lambda: __name__)(), type('A', (), {}).__module__", "('__main__', '__main__', '__main__')"),
            ("x: int = 3\n__annotations__", "{'x': <class 'int'>}"),
            ("__builtins__ is not None and len('ab')", "2"),
            ("import os; __import__('os') is os", "True"),
            ("globals() is locals()", "True"),
            ("[n for n in dir() if not n.startswith('_') and n not in ('os', 'sys', 'x')]", "[]"),
        ):
            self.assertEqual(self.run_ok(expression).text, text, expression)
        self.run_ok("if __name__ == '__main__': ran = True")
        self.assertEqual(self.kernel.value("ran"), "True")
        self.run_ok("__name__ = 'other'")
        self.assertEqual(self.kernel.value("class A: pass\nA.__module__"), "'other'")
        self.run_ok("del __name__, __builtins__")
        self.assert_alive()

    def test_names_that_notebooks_use(self):
        self.run_ok("_ = 'mine'; __ = 2; exit = 5; input = 6; display = 7; ec = 8")
        self.run_ok("1 + 1")
        self.assertEqual(self.kernel.value("_, __, exit, input, display, ec"), "('mine', 2, 5, 6, 7, 8)")
        self.run_ok("del exit, input, display, ec")
        self.assertEqual(self.kernel.value("callable(exit) and callable(input) and callable(display) and hasattr(ec, 'history')"), "True")


class ModuleTest(KernelTest):
    """Modules that cells write, edit, shadow, zip and run."""

    def test_edits_and_reloads(self):
        self.run_ok("open('edited.py', 'w').write('x = 1\\ndef f(): return 1\\n')\nimport edited, importlib\nfrom edited import f")
        self.run_ok("open('edited.py', 'w').write('x = 2\\ndef f(): return {}[0]\\n')\nimportlib.reload(edited);")
        self.assertEqual(self.kernel.value("edited.x, f()"), "(2, 1)")
        self.assertIn("return {}[0]", self.run_error("edited.f()", "KeyError").error["traceback"])
        self.run_ok("open('edited.py', 'w').write('def f(: broken')")
        self.run_error("importlib.reload(edited)", "SyntaxError")
        self.assertEqual(self.kernel.value("edited.x"), "2")
        self.run_ok("open('edited.py', 'w').write('x = 3\\nraise RuntimeError(1)')")
        self.run_error("importlib.reload(edited)", "RuntimeError")
        self.assertEqual(self.kernel.value("edited.x"), "3")
        self.run_ok("import os, sys; os.remove('edited.py')")
        self.run_error("importlib.reload(edited)", "ModuleNotFoundError")
        self.run_ok("del sys.modules['edited']")
        self.run_error("import edited", "ModuleNotFoundError")
        self.run_ok("open('edited.py', 'w').write('x = 4')\nimport edited")
        self.assertEqual(self.kernel.value("edited.x"), "4")

    def test_an_import_that_fails_can_be_tried_again(self):
        self.run_error("import later_module", "ModuleNotFoundError")
        self.run_ok("open('later_module.py', 'w').write('1/0')")
        self.run_error("import later_module", "ZeroDivisionError")
        self.run_ok("open('later_module.py', 'w').write('x = 1')\nimport later_module")
        self.assertEqual(self.kernel.value("later_module.x"), "1")

    def test_packages(self):
        self.run_ok(
            """
            import os, sys
            os.makedirs('pack/sub', exist_ok=True); os.makedirs('spread', exist_ok=True)
            for path, text in {'pack/__init__.py': 'from .a import x', 'pack/a.py': 'x = 1', 'pack/sub/__init__.py': 'from ..a import x as y',
                               'pack/__main__.py': 'print(__name__, __package__)', 'pack/data.txt': 'data', 'spread/leaf.py': 'z = 3'}.items():
                with open(path, 'w') as file: file.write(text)
            import pack.sub, spread.leaf
            """
        )
        for expression, text in (
            ("pack.x, pack.sub.y, spread.leaf.z", "(1, 1, 3)"),
            ("import pkgutil; sorted(m.name for m in pkgutil.iter_modules(pack.__path__))", "['__main__', 'a', 'sub']"),
            ("import importlib.util; importlib.util.find_spec('pack.a').name", "'pack.a'"),
            ("import runpy; runpy.run_module('pack.a')['x']", "1"),
            ("import inspect; inspect.getsource(pack.a)", "'x = 1\\n'"),
            ("pack.__file__ == os.path.abspath('pack/__init__.py'), pack.__spec__.loader.is_package('pack')", "(True, True)"),
            ("pkgutil.get_data('pack', 'data.txt')", "b'data'"),
        ):
            self.assertEqual(self.run_ok(expression).text, text, expression)
        self.assertEqual(self.run_ok("runpy.run_module('pack', run_name='__main__');").stdout, "__main__ pack\n")
        self.assertEqual(self.run_ok("import subprocess; subprocess.run([sys.executable, '-m', 'pack']);").stdout, "__main__ pack\n")

    def test_zip_files_in_the_folder(self):
        for path in ("zipped.zip", "os.path.abspath('again.zip')"):
            name = "zipped" if path == "zipped.zip" else "again"
            run = self.kernel.run(
                f"import os, sys, zipfile\npath = {path if 'os.' in path else repr(path)}\n"
                f"with zipfile.ZipFile(path, 'w') as z: z.writestr('{name}_module.py', 'v = 5')\n"
                f"sys.path.insert(0, path)\nimport {name}_module\n{name}_module.v"
            )
            self.assertEqual(run.text, "5", run.error and run.error["message"])

    def test_scripts_in_the_folder_are_run(self):
        self.run_ok("open('script.py', 'w').write('print(__name__); x = 6')\nimport runpy")
        run = self.run_ok("runpy.run_path('script.py', run_name='__main__')['x']")
        self.assertEqual((run.text, run.stdout), ("6", "__main__\n"))

    def test_scripts_elsewhere_are_run(self):
        run = self.run_ok("import os, runpy, tempfile\npath = os.path.join(tempfile.mkdtemp(), 's.py')\nopen(path, 'w').write('print(__name__); x = 6')\nrunpy.run_path(path, run_name='__main__')['x']")
        self.assertEqual((run.text, run.stdout), ("6", "__main__\n"))
        self.assertEqual(self.run_ok("exec(open(path).read()); x").text, "6")

    def test_modules_that_hide_the_standard_librarys(self):
        # Written beside the session's code, often by accident; the kernel needs none of them.
        names = ("json", "random", "traceback", "linecache", "ast", "tokenize", "signal", "select", "socket", "types", "typing", "inspect", "code", "copy", "string", "warnings")
        for name in names:
            (self.box.work / f"{name}.py").write_text("raise ImportError('hidden')\n")
        try:
            self.assertEqual(self.run_ok("x = {1: [2]}\nx").text, "{1: [2]}")
            self.assertEqual(self.run_error("def f(): 1/0\nf()", "ZeroDivisionError").error["line"], 1)
            self.assertEqual(self.run_error("x = = 1", "SyntaxError").error["line"], 1)
            self.assertIsNone(self.kernel.inspect("x")["error"])
            self.run_ok("display(x)")
            self.assert_alive()
        finally:
            for name in names:
                (self.box.work / f"{name}.py").unlink()

    def test_paths(self):
        self.run_ok("import os, sys\nos.makedirs('lib', exist_ok=True); open('lib/on_path.py', 'w').write('v = 1'); before = list(sys.path)")
        for entry in ("'lib'", "os.path.abspath('lib')", "os.path.join('lib', '..', 'lib')", "'./lib/'"):
            self.assertEqual(self.run_ok(f"sys.path.append({entry})\nimport on_path\nvalue = on_path.v\ndel sys.modules['on_path']; sys.path[:] = before\nvalue").text, "1", entry)
        self.run_error("import on_path", "ModuleNotFoundError")
        for odd in ("5", "None", "'/nowhere'", "''", "'lib/on_path.py'"):
            self.run_ok(f"sys.path.insert(0, {odd})\nimport colorsys; del sys.modules['colorsys']\nsys.path[:] = before")
        self.run_ok("sys.path.insert(0, os.path.abspath('lib'))\nimport on_path")
        self.assertEqual(self.kernel.value("sys.path[0] == os.path.abspath('lib'), on_path.v"), "(True, 1)")

    def test_hooks_of_the_session(self):
        self.run_ok(
            """
            import importlib.abc, importlib.machinery, sys
            class Maker(importlib.abc.MetaPathFinder, importlib.abc.Loader):
                def find_spec(self, name, path=None, target=None):
                    return importlib.machinery.ModuleSpec(name, self) if name.startswith('made_') else None
                def create_module(self, spec): return None
                def exec_module(self, module): module.made = True
            sys.meta_path.insert(0, Maker())
            import made_up
            """
        )
        self.assertEqual(self.kernel.value("made_up.made"), "True")
        self.run_ok("sys.meta_path.append(None); sys.path_hooks.append(None); sys.path_importer_cache['x'] = 5")
        self.assert_alive()

    def test_circular_and_slow_imports(self):
        self.run_ok("open('circle_a.py', 'w').write('import circle_b\\nx = 1')\nopen('circle_b.py', 'w').write('import circle_a\\ny = 2')\nimport circle_a")
        self.assertEqual(self.kernel.value("circle_a.circle_b.y"), "2")
        self.run_ok("open('slow_module.py', 'w').write('import time; time.sleep(0.02); x = 1')\nimport threading\nfound = []\ndef load():\n    import slow_module\n    found.append(slow_module.x)\nthreads = [threading.Thread(target=load) for _ in range(5)]\nfor t in threads: t.start()\nfor t in threads: t.join()")
        self.assertEqual(self.kernel.value("found"), "[1, 1, 1, 1, 1]")


class PlaceTest(KernelTest):
    """Folder and environment."""

    def test_the_folder_persists(self):
        self.run_ok("import os, subprocess\nos.makedirs('inner/deeper', exist_ok=True); os.chdir('inner')")
        self.assertEqual(self.kernel.value("open('file', 'w').close(); os.path.basename(os.getcwd())"), "'inner'")
        self.assertEqual(self.kernel.value("subprocess.run(['ls'], capture_output=True, text=True).stdout"), "'deeper\\nfile\\n'")
        self.assertEqual(self.kernel.value("import pathlib; pathlib.Path('deeper').resolve().parent == pathlib.Path.cwd()"), "True")
        self.run_ok("open('deeper/deep_module.py', 'w').write('d = 1'); os.chdir('deeper'); import deep_module")
        self.assertEqual(self.kernel.value("deep_module.d, os.path.exists('../file')"), "(1, True)")
        self.run_error("os.chdir('/no/such/folder')", "FileNotFoundError")
        self.assertEqual(self.kernel.value("os.path.basename(os.getcwd())"), "'deeper'")

    def test_a_folder_that_is_gone(self):
        self.run_ok("import os\nos.mkdir('gone'); os.chdir('gone'); os.rmdir('../gone')")
        self.assert_alive()
        self.run_error("os.getcwd()", "FileNotFoundError")
        self.run_error("import no_such_module", "ModuleNotFoundError")
        self.run_error("open('x', 'w')", "FileNotFoundError")
        self.run_ok("import colorsys, wave")
        self.assertEqual(self.run_error("def f(): g()\nf()", "NameError").error["line"], 1)
        self.assertIsNone(self.kernel.inspect()["error"])
        self.run_ok("import asyncio; await asyncio.sleep(0)")
        self.run_ok(f"os.chdir({str(self.box.work)!r})")
        self.assert_alive()

    def test_the_folder_of_one_kernel_is_no_others(self):
        other = self.box.fork()
        self.run_ok("import os; os.chdir('/')")
        self.assertEqual(other.value("import os; os.getcwd()"), repr(str(self.box.work)))

    VALUES = ("plain", "", " ", "it's", 'say "x"', "a\nb\n", "$HOME `id` $(id) \\", "é€\U0001f600", "a=b=c", "\t;&|<>*?[]{}~#!%", "x" * 100_000)

    def test_values_of_one_execution(self):
        for value in self.VALUES:
            run = self.kernel.run(f"import os, subprocess\nexpected = {value!r}\n[os.environ['V'] == expected, subprocess.run('printf %s \"$V\"', shell=True, capture_output=True).stdout.decode() == expected]", env={"V": value})
            self.assertEqual(run.text, "[True, True]", value[:50])
            self.assertEqual(self.kernel.value("'V' in os.environ, os.getenv('V'), subprocess.run('echo ${V-none}', shell=True, capture_output=True).stdout"), "(False, None, b'none\\n')")

    def test_values_come_back_however_the_cell_ends(self):
        self.run_ok("import os; os.environ['W'] = 'before'")
        for code in ("1", "1/0", "raise SystemExit", "os.environ['W'] = 'inside'", "del os.environ['W']", "os.environ.clear()", "y = =", "await __import__('asyncio').sleep(0)"):
            self.kernel.run(code, env={"W": "theirs", "X": "new"})
            self.assertEqual(self.kernel.value("os.environ.get('W'), 'X' in os.environ"), "('before', False)", code)
        run = self.kernel.start("print('on', flush=True)\nwhile True: pass", env={"W": "theirs"}).wait_output("on")
        self.kernel.interrupt()
        run.wait()
        self.assertEqual(self.kernel.value("os.environ['W']"), "'before'")

    def test_changes_of_the_environment_persist(self):
        self.run_ok("import os, subprocess\nos.environ['KEPT'] = 'a\\nb'; os.environ['ODD'] = '\\udcff'; os.putenv('BELOW', '1')")
        self.assertEqual(self.kernel.value("os.environ['KEPT'], os.environb[b'ODD'], subprocess.run('echo $BELOW', shell=True, capture_output=True).stdout"), "('a\\nb', b'\\xff', b'1\\n')")
        self.run_ok("os.environ.clear()")
        self.assertEqual(self.kernel.value("subprocess.run(['/bin/echo', 'runs'], capture_output=True).stdout"), "b'runs\\n'")
        self.run_ok("import tempfile; tempfile.gettempdir(); import locale; locale.getlocale()")
        for code, kind in (("os.environ['a=b'] = 'x'", "ValueError"), ("os.environ['n\\0'] = 'x'", "ValueError"), ("os.environ['k'] = 5", "TypeError")):
            self.run_error(code, kind)
        self.assert_alive()

    def test_time_zones(self):
        self.run_ok("import os, time\nos.environ['TZ'] = 'KST-9'; time.tzset()")
        self.assertEqual(self.kernel.value("time.localtime(0).tm_hour"), "9")


if __name__ == "__main__":
    unittest.main()
