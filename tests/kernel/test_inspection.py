"""A closer look at one variable: parts, sources, signatures, and tables of the libraries that are installed."""

from __future__ import annotations

import sys
import unittest
from importlib.util import find_spec
from math import isfinite

from harness import KernelTest

from execute_code_kernel.inspection import Inspector
from execute_code_kernel.sources import Sources

NUMBERS = ["count", "missing", "mean", "std", "min", "25%", "50%", "75%", "max"]


def needs(*libraries: str):
    missing = [name for name in libraries if find_spec(name) is None]
    return unittest.skipIf(missing, f"without {', '.join(missing)}")


class LookTest(KernelTest):
    def look(self, name: str, depth: int = 1) -> dict:
        answer = self.kernel.inspect(name, depth)
        self.assertIsNone(answer["error"], name)
        self.check(answer["detail"])
        return answer["detail"]

    def look_at(self, code: str) -> dict:
        self.run_ok(f"it = {code}")
        return self.look("it")

    def table(self, code: str) -> dict:
        return self.look_at(code)["table"]

    def parts(self, name: str) -> dict:
        return {child["name"]: child["preview"] for child in self.look(name)["children"]}

    def check(self, detail: dict) -> None:
        """What holds for every answer."""
        self.assertLessEqual(len(detail["children"]), 50)
        for child in detail["children"]:
            self.check(child)
        self.assertIsInstance(detail["signature"], (str, type(None)))
        if detail["table"] is not None:
            self.check_table(detail["table"])

    def check_table(self, table: dict) -> None:
        width = len(table["columns"])
        self.assertLessEqual(width, 50)
        self.assertLessEqual(len(table["head"]), 5)
        self.assertEqual(len(table["index"]), len(table["head"]))
        for row in table["head"]:
            self.assertEqual(len(row), width)
        for text in (*table["index"], *[cell for row in table["head"] for cell in row]):
            self.assertTrue(len(text) <= 60 and text.isprintable(), text)
        for figures in table["describe"].values():
            for figure in figures.values():
                self.assertTrue(figure is None or isfinite(figure))


class PartsTest(LookTest):
    def test_containers(self):
        self.run_ok(
            """
            import collections
            ordered = collections.OrderedDict(a=1, b=2); ordered.move_to_end('a')
            default = collections.defaultdict(list, k=[1])
            counter = collections.Counter('aab')
            queue = collections.deque(range(60), maxlen=60)
            Named = collections.namedtuple('Named', 'left right')
            named = Named(1, 'r')
            class Overridden(dict):
                def __len__(self): raise RuntimeError
                items = keys = values = __iter__ = __getitem__ = __len__
            overridden = Overridden(a=1); overridden.extra = 5
            keys = {1: 2}.keys()
            unsorted = {'k': 1, 3: None, (1, 2): 'x'}
            """
        )
        self.assertEqual(list(self.parts("ordered")), ["'b'", "'a'"])
        self.assertEqual(self.parts("default"), {"'k'": "[1]", "default_factory": "<class list>"})
        self.assertEqual(self.parts("counter"), {"'a'": "2", "'b'": "1"})
        self.assertEqual(self.parts("named"), {"left": "1", "right": "'r'"})
        self.assertEqual(self.parts("overridden"), {"'a'": "1", "extra": "5"})
        self.assertEqual(self.parts("keys"), {"0": "1"})
        self.assertEqual(self.parts("unsorted"), {"'k'": "1", "3": "None", "(1, 2)": "'x'"})
        queue = self.look("queue")
        self.assertEqual((len(queue["children"]), queue["omitted"], queue["length"]), (50, 10, 60))
        self.assertEqual(self.look("overridden")["length"], 1)

    def test_attributes(self):
        self.run_ok(
            """
            import dataclasses, enum
            class Slots:
                __slots__ = ('a', '_b', 'unset')
                def __init__(self): self.a, self._b = 1, 2
            class Both(Slots):
                def __init__(self): super().__init__(); self.c = 3
                @property
                def computed(self): print('ran')
            slots, both = Slots(), Both()
            @dataclasses.dataclass
            class Point:
                x: int
                y: int = 2
            point = Point(1)
            class Color(enum.Enum):
                RED = 1
                GREEN = 'g'
                def shade(self): pass
            red = Color.RED
            error = OSError(2, 'no')
            """
        )
        self.assertEqual(self.parts("slots"), {"a": "1", "_b": "2"})
        self.assertEqual(self.parts("both"), {"a": "1", "_b": "2", "c": "3"})
        self.assertEqual(self.parts("point"), {"x": "1", "y": "2"})
        self.assertEqual(self.parts("red"), {"name": "'RED'", "value": "1"})
        self.assertEqual(self.parts("Color"), {"RED": "<Color.RED: 1>", "GREEN": "<Color.GREEN: 'g'>", "shade": "<function shade>"})
        self.assertEqual(self.parts("error")["args"], "(2, 'no')")
        self.assertEqual(self.run_ok("1").stdout, "")

    def test_classes_and_modules(self):
        self.run_ok(
            """
            import types
            class Thing:
                'A thing.'
                limit = 3
                def __init__(self, x, *, y: int = 1): self.x = x
                def act(self): pass
            module = types.ModuleType('made', 'Made up.')
            module.shown, module._hidden = 1, 2
            """
        )
        self.assertEqual(list(self.parts("Thing")), ["limit", "__init__", "act"])
        thing = self.look("Thing")
        self.assertEqual((thing["doc"], thing["signature"]), ("A thing.", "(x, *, y: int = 1)"))
        self.assertEqual([child["signature"] for child in thing["children"]], [None, "(self, x, *, y: int = 1)", "(self)"])
        # The class's source holds theirs.
        self.assertEqual([child["source"] for child in thing["children"]], [None] * 3)
        self.assertEqual((self.parts("module"), self.look("module")["doc"]), ({"shown": "1"}, "Made up."))

    def test_bounds(self):
        self.run_ok(
            """
            loop = [1]; loop.append(loop)
            wide = {n: {m: m for m in range(100)} for n in range(100)}
            deep = 'end'
            for _ in range(20): deep = [deep]
            class Many: pass
            many = Many(); many.__dict__.update({f'a{n}': n for n in range(12_345)})
            functions = {n: (lambda: n) for n in range(100)}
            """
        )
        loop = self.look("loop", 4)
        self.assertEqual([child["name"] for child in loop["children"]], ["0", "1"])
        self.assertEqual((loop["children"][1]["children"], loop["children"][1]["omitted"]), ([], 2))
        wide = self.look("wide", 4)
        self.assertEqual((len(wide["children"]), wide["omitted"]), (50, 50))
        nodes = 1 + 50 + sum(len(child["children"]) for child in wide["children"])
        self.assertEqual(nodes, 500)
        self.assertEqual([len(child["children"]) + child["omitted"] for child in wide["children"]], [100] * 50)
        level, here = 0, self.look("deep", 9)
        while here["children"]:
            level, here = level + 1, here["children"][0]
        self.assertEqual((level, here["omitted"]), (4, 1))
        many = self.look("many")
        self.assertEqual((len(many["children"]), many["omitted"]), (50, 12_295))
        self.assertLess(len(str(self.look("functions"))), 100_000)


class FunctionsTest(LookTest):
    def test_signatures(self):
        self.run_ok(
            """
            import functools, dataclasses, typing
            def full(a, b: int = 3, *args, c, d: 'str' = "x", **rest) -> typing.List[int]: pass
            def positional(a, /, b, *, k=None): pass
            async def waits(x: typing.Optional[int]) -> None: pass
            def logged(function):
                @functools.wraps(function)
                def wrapper(*args, **kwargs): return function(*args, **kwargs)
                return wrapper
            @logged
            @logged
            def decorated(x: int): return x
            cached = functools.lru_cache(positional)
            class Thing:
                def method(self, x): pass
                @classmethod
                def made(cls, q): pass
                @staticmethod
                def static(q): pass
            method, made, static = Thing().method, Thing.made, Thing.static
            @dataclasses.dataclass
            class Point:
                x: int
                tags: 'list[str]' = dataclasses.field(default_factory=list)
            class Meta(type):
                def __call__(cls, *args): raise RuntimeError
            class Made(metaclass=Meta):
                def __init__(self, x): pass
            class Plain: pass
            class Listed(list): pass
            odd = lambda x, y=Plain(): x
            odd.__signature__ = property(lambda self: 1 / 0)
            bound, built_in, unbound = [].append, len, str.upper
            """
        )
        for name, expected in {
            "full": "(a, b: int = 3, *args, c, d: 'str' = 'x', **rest) -> typing.List[int]",
            "positional": "(a, /, b, *, k=None)",
            "waits": "(x: typing.Optional[int]) -> None",
            "decorated": "(x: int)",
            "cached": "(a, /, b, *, k=None)",
            "method": "(x)",
            "made": "(q)",
            "static": "(q)",
            "Made": None,
            "Plain": "()",
            "Listed": "(iterable=(), /)",
            "odd": "(x, y=<Plain object>)",
            "bound": "(object, /)",
            "built_in": "(obj, /)",
            "unbound": "(self, /)",
        }.items():
            self.assertEqual(self.look(name)["signature"], expected, name)
        if sys.version_info < (3, 14):
            self.assertEqual(self.look("Point")["signature"], "(x: int, tags: list[str] = <factory>)")

    def test_sources(self):
        self.run_ok("def f():\n    return 'old'\nold = f\nclass Thing:\n    def one(self): pass\nOld = Thing")
        self.run_ok(
            "import functools\n"
            "def f():\n    return 'new'\n"
            "class Thing:\n    def two(self):\n        return [lambda: 1]\n"
            "lam = (lambda x:\n    x)\n"
            "def logged(function):\n"
            "    @functools.wraps(function)\n"
            "    def wrapper(): return function()\n"
            "    return wrapper\n"
            "@logged\n@logged\ndef decorated():\n    'Doc.'\n    return 1\n"
            "def outer():\n    async def inner(): pass\n    return inner\n"
            "inner, method = outer(), Thing().two\n"
            "plain = logged; loop = lambda: 0; loop.__wrapped__ = loop\n"
            "made = eval('lambda: 1')\n"
            "class Chatty:\n    __wrapped__ = property(lambda self: 1 / 0)\nchatty = Chatty()"
        )
        for name, expected in {
            "f": "def f():\n    return 'new'\n",
            "old": "def f():\n    return 'old'\n",
            "Thing": "class Thing:\n    def two(self):\n        return [lambda: 1]\n",
            "Old": "class Thing:\n    def one(self): pass\n",
            "lam": "lam = (lambda x:\n    x)\n",
            "decorated": "@logged\n@logged\ndef decorated():\n    'Doc.'\n    return 1\n",
            "inner": "    async def inner(): pass\n",
            "method": "    def two(self):\n        return [lambda: 1]\n",
            "made": None,
            "chatty": None,
        }.items():
            self.assertEqual(self.look(name)["source"], expected, name)
        self.assertEqual(self.look("decorated")["doc"], "Doc.")
        self.assertIn("loop = lambda: 0", self.look("loop")["source"])

    def test_sources_of_files(self):
        self.run_ok(
            "import pathlib, sys\npathlib.Path('helper.py').write_text('def helped(a):\\n    return a\\n')\n"
            "sys.path.insert(0, '.' if False else str(pathlib.Path('.').resolve()))\nfrom helper import helped"
        )
        self.assertEqual(self.look("helped")["source"], "def helped(a):\n    return a\n")

    def test_documentation(self):
        self.run_ok("def f():\n    '''First.\n\n    Second\n      third.\n    '''\ndef g(): pass\ng.__doc__ = 'x' * 100_000")
        self.assertEqual(self.look("f")["doc"], "First.\n\nSecond\n  third.")
        self.assertEqual(len(self.look("g")["doc"]), 2_000)


class HostileTest(LookTest):
    def test_no_code_of_the_session_runs(self):
        self.run_ok(
            """
            import types, weakref
            def ran(*args, **kwargs):
                print('ran')
                raise RuntimeError
            class Loud:
                __slots__ = ('slot', '__dict__', '__weakref__')
                __repr__ = __str__ = __len__ = __iter__ = __getattr__ = __eq__ = __hash__ = __bool__ = __sizeof__ = ran
                __call__ = __getitem__ = __contains__ = __index__ = __format__ = __dir__ = ran
                def __getattribute__(self, name): ran()
                value = property(ran)
            loud = Loud()
            object.__setattr__(loud, 'slot', 1); object.__setattr__(loud, 'kept', Loud())
            class Text(str):
                __str__ = __repr__ = __format__ = __eq__ = __hash__ = __len__ = __getitem__ = ran
            def f(a=loud): pass
            f.__name__ = Text('f'); f.__doc__ = Text('doc')
            Named = type('Named', (), {}); Named.__name__ = Text('Named')
            named = Named()
            holders = [loud, {1: loud}, (loud,), weakref.proxy(loud), types.MappingProxyType({'k': loud}), f, Named, named]
            proxy, mapping = holders[3], holders[4]
            """
        )
        for name in ("loud", "holders", "f", "Named", "named", "proxy", "mapping", "Loud", "Text"):
            self.look(name, 4)
        self.kernel.inspect()
        self.assertEqual(self.parts("loud"), {"kept": "<Loud object>", "slot": "1"})
        self.assertEqual(self.run_ok("1").stdout, "")
        self.assertEqual(self.kernel.stdout.late, b"")

    def test_metaclasses_are_not_asked(self):
        asked = []

        class Meta(type):
            def __eq__(cls, other):
                asked.append("eq")

            def __hash__(cls):
                asked.append("hash")
                return 0

            def __getattribute__(cls, name):
                asked.append(name)
                raise RuntimeError

            __instancecheck__ = __subclasscheck__ = __eq__

        class Hostile(metaclass=Meta):
            pass

        value = Hostile()
        inspector = Inspector({"value": value, "Hostile": Hostile, "held": [{1: value}, Hostile]}, Sources())
        asked.clear()
        for name in ("value", "Hostile", "held"):
            inspector.detail(name, 4)
        self.assertEqual([entry["preview"] for entry in inspector.summary()][:2], ["<class Hostile>", "[{1: <Hostile object>}, <class Hostile>]"])
        self.assertEqual(asked, [])

    def test_names_that_compare_themselves(self):
        class Key:
            def __hash__(self):
                return hash("x")

            def __eq__(self, other):
                if armed:
                    raise RuntimeError
                return False

        armed = []
        inspector = Inspector({Key(): 1, "x": 2}, Sources())
        armed.append(True)
        self.assertEqual(inspector.detail("x", 0)["preview"], "2")

    def test_strangers_that_look_like_a_library(self):
        self.run_ok(
            """
            class DataFrame:
                shape = dtype = _mgr = property(lambda self: print('ran'))
            DataFrame.__module__ = 'pandas'
            it = DataFrame()
            """
        )
        look = self.look("it")
        self.assertEqual((look["table"], look["shape"], look["preview"]), (None, None, "<DataFrame object>"))
        self.assertEqual(self.run_ok("1").stdout, "")


@needs("numpy")
class NumpyTest(LookTest):
    def setUp(self):
        super().setUp()
        self.run_ok("import numpy as np")

    def test_dimensions(self):
        look = self.look_at("np.arange(12.).reshape(3, 4)")
        self.assertEqual((look["shape"], look["dtype"], look["bytes"], look["length"]), ([3, 4], "float64", 96, 3))
        table = look["table"]
        self.assertEqual(table["columns"], [{"name": str(n), "dtype": "float64"} for n in range(4)])
        self.assertEqual(table["head"][1], ["4.0", "5.0", "6.0", "7.0"])
        self.assertEqual((table["index"], table["described_rows"]), (["0", "1", "2"], 3))
        figures = table["describe"]["0"]
        self.assertEqual(list(figures), NUMBERS)
        self.assertEqual([figures[name] for name in NUMBERS], [3, 0, 4, 4, 0, 2, 4, 6, 8])
        table = self.table("np.array([1, 2, 3])")
        self.assertEqual((table["columns"][0]["name"], table["head"]), ("", [["1"], ["2"], ["3"]]))
        table = self.table("np.array(5)")
        self.assertEqual((table["head"], table["described_rows"]), ([["5"]], 1))
        table = self.table("np.arange(24).reshape(2, 3, 4)")
        self.assertEqual((len(table["columns"]), table["head"][2], list(table["describe"])), (4, ["8", "9", "10", "11"], [""]))
        self.assertEqual((table["describe"][""]["count"], table["described_rows"]), (24, 24))
        for shape in ("0", "(0, 3)", "(3, 0)", "(0, 3, 4)", "(2, 0, 4)", "(2, 3, 0)"):
            self.assertIsNotNone(self.table(f"np.zeros({shape})"), shape)

    def test_dtypes(self):
        for code, cells, figures in (
            ("np.array([0.3, np.nan, np.inf], 'f4')", ["0.3", "NaN", "inf"], (2, 1)),
            ("np.array([1e4, .1], 'f2')", ["10000.0", "0.1"], (2, 0)),
            ("np.array([2 ** 64 - 1], 'u8')", ["18446744073709551615"], (1, 0)),
            ("np.array([True, False, True])", ["True", "False", "True"], (3, 0, 2)),
            ("np.array([1j, complex('nan')])", ["1j", "(nan+0j)"], (1, 1, 1)),
            ("np.array(['2024-01-01', 'NaT'], 'M8[ns]')", ["2024-01-01", "NaT"], (1, 1, 1)),
            ("np.array(['2024-01-01T05:30'], 'M8[s]')", ["2024-01-01 05:30"], (1, 0, 1)),
            ("np.array([90], 'm8[s]')", ["90 seconds"], (1, 0, 1)),
            ("np.array(['a', 'b', 'a'])", ["a", "b", "a"], (3, 0, 2)),
            ("np.array([b'x'])", ["b'x'"], (1, 0, 1)),
            ("np.array([None, 1, 'a', float('nan')], object)", ["None", "1", "a", "NaN"], (2, 2, 2)),
            ("np.ma.masked_array([1, 2], mask=[0, 1])", ["1", "--"], (1, 1)),
        ):
            table = self.table(code)
            self.assertEqual([row[0] for row in table["head"]], cells, code)
            described = table["describe"][""]
            names = ["count", "missing", "unique"][: len(figures)]
            self.assertEqual(tuple(described[name] for name in names), figures, code)
            self.assertEqual("mean" in described, "unique" not in described, code)

    def test_structured_and_masked(self):
        look = self.look_at("np.array([(1, 'a', [1, 2])], dtype=[('x', 'i4'), ('y', 'U5'), ('z', 'f8', (2,))])")
        self.assertEqual([column["name"] for column in look["table"]["columns"]], ["x", "y", "z"])
        self.assertEqual(look["table"]["head"], [["1", "a", "[1.0, 2.0]"]])
        self.assertEqual(look["table"]["describe"]["x"]["max"], 1)
        table = self.table("np.ma.array([(1, 2.)], mask=[(True, False)], dtype=[('x', 'i4'), ('y', 'f8')])")
        self.assertEqual((table["head"], table["describe"]["x"]["missing"]), ([["--", "2.0"]], 1))

    def test_samples_of_what_is_large(self):
        import numpy

        wide = numpy.broadcast_to(numpy.arange(3), (10**9, 3))
        deep = numpy.broadcast_to(1.0, (10**6, 10**6, 100))
        long = numpy.broadcast_to(numpy.int8(1), (2**55,))
        inspector = Inspector({"wide": wide, "deep": deep, "long": long}, Sources())
        table = inspector.detail("wide", 0)["table"]
        self.assertLessEqual(table["described_rows"] * 3, 2_000_003)
        self.assertEqual(table["describe"]["2"]["mean"], 2)
        table = inspector.detail("deep", 0)["table"]
        self.assertLessEqual(table["described_rows"], 2_000_000)
        self.assertEqual(table["omitted_columns"], 50)
        detail = inspector.detail("long", 0)
        self.assertEqual((detail["shape"], detail["bytes"]), ([2**53 - 1], 2**53 - 1))

    def test_subclasses_are_not_asked(self):
        self.run_ok(
            """
            armed = []
            class Hostile:
                def ran(self, *args):
                    if armed: print('ran')
                    return 1
                __repr__ = __str__ = __eq__ = __len__ = __bool__ = ran
                __hash__ = ran
                def __getattribute__(self, name):
                    if armed: print('ran')
                    return object.__getattribute__(self, name)
            class Sub(np.ndarray):
                def __array_finalize__(self, other):
                    if armed: print('ran')
                def __getitem__(self, key): print('ran')
                def __getattribute__(self, name):
                    if armed: print('ran')
                    return super().__getattribute__(name)
                shape = dtype = nbytes = flat = property(lambda self: print('ran'))
            sub = np.arange(6).reshape(2, 3).view(Sub)
            cells = np.array([Hostile(), None, 'text'], dtype=object)
            titled = np.zeros(2, np.dtype({'names': ['a'], 'formats': ['i4'], 'titles': [Hostile()]}))
            dictionary = {'first': np.ones(3), 'second': sub}
            armed.append(1)
            """
        )
        armed = self.kernel.stdout.everything
        look = self.look("sub")
        self.assertEqual((look["shape"], look["dtype"], look["bytes"]), ([2, 3], "int64", 48))
        self.assertEqual(look["table"]["head"], [["0", "1", "2"], ["3", "4", "5"]])
        table = self.look("cells")["table"]
        self.assertEqual([row[0] for row in table["head"]], ["<Hostile object>", "None", "text"])
        self.assertEqual(table["describe"][""], {"count": 2, "missing": 1})
        self.assertEqual(self.look("titled")["dtype"], "[('a', 'int32')]")
        tables = [child["table"] for child in self.look("dictionary")["children"]]
        self.assertEqual([len(table["head"]) for table in tables], [3, 2])
        self.kernel.stdout.read()
        self.assertEqual(self.kernel.stdout.everything, armed)

    def test_scalars(self):
        self.run_ok("x = np.float64(1.5); n = np.int8(3); s = np.str_('text'); t = np.datetime64('2024-01-01')")
        previews = {entry["name"]: entry["preview"] for entry in self.kernel.inspect()["variables"]}
        self.assertEqual(previews, {"n": "3", "s": "'text'", "t": "2024-01-01", "x": "1.5"})


@needs("numpy", "pandas")
class PandasTest(LookTest):
    def setUp(self):
        super().setUp()
        self.run_ok("import pandas as pd, numpy as np")

    def test_frame(self):
        self.run_ok(
            """
            it = pd.DataFrame({
                'a': [1, 2, 3], 'b': [1.5, None, 2.5], 's': ['x', 'y', None], 'flag': [True, False, True],
                'd': pd.to_datetime(['2024-01-01 00:00', '2024-01-02 03:04', None]), 'c': pd.Categorical(['u', None, 'u']),
                'n': pd.array([1, None, 3], dtype='Int64'), 't': pd.array(['p', None, 'q'], dtype='string'),
                'p': pd.period_range('2024-01', periods=3, freq='M'), 'iv': pd.interval_range(0, 3),
                'td': pd.to_timedelta([1, 2, None], unit='s'), 'sp': pd.arrays.SparseArray([0, 0, 1]),
                'mix': [1, 'x', None],
            }, index=['r1', 'r2', 'r3'])
            it['tz'] = it['d'].dt.tz_localize('UTC')
            whole = int(it.memory_usage(deep=False).sum())
            """
        )
        look = self.look("it")
        self.assertEqual((look["shape"], look["dtype"], look["length"]), ([3, 14], None, 3))
        self.assertEqual(str(look["bytes"]), self.kernel.value("whole"))
        table = look["table"]
        head = {column["name"]: [row[n] for row in table["head"]] for n, column in enumerate(table["columns"])}
        self.assertEqual(table["index"], ["r1", "r2", "r3"])
        self.assertEqual((head["a"], head["b"], head["c"]), (["1", "2", "3"], ["1.5", "NaN", "2.5"], ["u", "NaN", "u"]))
        self.assertEqual(head["d"], ["2024-01-01", "2024-01-02 03:04:00", "NaT"])
        self.assertEqual((head["n"], head["t"]), (["1", "<NA>", "3"], ["p", "<NA>", "q"]))
        self.assertEqual((head["p"][0], head["iv"][0], head["td"][0]), ("2024-01", "(0, 1]", "0 days 00:00:01"))
        self.assertEqual(head["tz"], ["2024-01-01 00:00:00+00:00", "2024-01-02 03:04:00+00:00", "NaT"])
        self.assertEqual((head["sp"], head["mix"]), (["0", "0", "1"], ["1", "x", "None"]))
        describe = table["describe"]
        self.assertEqual([describe["a"][name] for name in NUMBERS], [3, 0, 2, 1, 1, 1.5, 2, 2.5, 3])
        self.assertEqual((describe["b"]["count"], describe["b"]["missing"], describe["n"]["mean"]), (2, 1, 2))
        for name, unique in {"s": 2, "flag": 2, "d": 2, "c": 1, "t": 2, "p": 3, "td": 2, "tz": 2, "mix": 2}.items():
            self.assertEqual(describe[name]["unique"], unique, name)
        dtypes = {column["name"]: column["dtype"] for column in table["columns"]}
        self.assertEqual((dtypes["c"], dtypes["n"], dtypes["p"]), ("category", "Int64", "period[M]"))
        self.assertIn("UTC", dtypes["tz"])

    def test_indexes_and_names(self):
        table = self.table("pd.DataFrame([[1, 2., 'x']], columns=['a', 'a', 'a (2)'])")
        self.assertEqual([column["name"] for column in table["columns"]], ["a", "a", "a (2)"])
        self.assertEqual(list(table["describe"]), ["a", "a (2)", "a (2) (2)"])
        self.run_ok(
            "mi = pd.MultiIndex.from_product([['x', 'y'], [1, 2]], names=['k', None])\n"
            "wide = pd.DataFrame(np.arange(12).reshape(4, 3), index=mi, columns=pd.MultiIndex.from_tuples([('A', 'b'), ('A', 'c'), ('B', 1)]))"
        )
        table = self.look("wide")["table"]
        self.assertEqual(table["index"], ["(x, 1)", "(x, 2)", "(y, 1)", "(y, 2)"])
        self.assertEqual([column["name"] for column in table["columns"]], ["(A, b)", "(A, c)", "(B, 1)"])
        look = self.look("mi")
        self.assertEqual((look["shape"], [column["name"] for column in look["table"]["columns"]]), ([4], ["k", "1"]))
        self.assertEqual((look["table"]["head"][2], look["table"]["describe"]["k"]["unique"]), (["y", "1"], 2))
        look = self.look_at("pd.RangeIndex(10 ** 12)")
        self.assertEqual((look["shape"], look["table"]["head"][4]), ([10**12], ["4"]))
        self.assertLessEqual(look["table"]["described_rows"], 2_000_000)
        look = self.look_at("pd.Series([1, 2], name='named', index=pd.date_range('2024-01-01', periods=2))")
        self.assertEqual((look["table"]["columns"], look["table"]["index"]), ([{"name": "named", "dtype": "int64"}], ["2024-01-01", "2024-01-02"]))
        for code in ("pd.DataFrame()", "pd.DataFrame(columns=['a'])", "pd.DataFrame(index=[1, 2])", "pd.Series([], dtype=object)"):
            self.assertIsNotNone(self.table(code), code)
        table = self.table("pd.DataFrame(np.zeros((3, 1000)))")
        self.assertEqual((len(table["columns"]), table["omitted_columns"]), (50, 950))

    def test_nothing_of_the_session_is_asked(self):
        self.run_ok(
            """
            import datetime
            from pandas.api.extensions import ExtensionArray, ExtensionDtype
            armed = []
            def ran(what):
                if armed: print('ran', what)
            class Hostile:
                def any(self, *args): ran('method'); return 1
                __repr__ = __str__ = __eq__ = __len__ = __bool__ = __hash__ = __sizeof__ = any
            class Frame(pd.DataFrame):
                def __getattribute__(self, name): ran(name); return super().__getattribute__(name)
                def memory_usage(self, *args, **kwargs): ran('memory')
            class Labels(pd.Index):
                def __len__(self): ran('len'); return super().__len__()
                def __getitem__(self, key): ran('item'); return super().__getitem__(key)
                def memory_usage(self, deep=False): ran('memory'); return 1
            class Zone(datetime.tzinfo):
                def utcoffset(self, at): ran('offset'); return datetime.timedelta(0)
                def dst(self, at): ran('dst'); return datetime.timedelta(0)
                def tzname(self, at): ran('name'); return 'zone'
                def __str__(self): ran('str'); return 'zone'
                __repr__ = __str__
            class Dtype(ExtensionDtype):
                name = property(lambda self: ran('name') or 'own'); type = object
                @classmethod
                def construct_array_type(cls): return Own
            class Own(ExtensionArray):
                def __init__(self, count): self.count = count
                dtype = property(lambda self: ran('dtype') or Dtype())
                nbytes = property(lambda self: ran('nbytes') or 0)
                def __len__(self): ran('len'); return self.count
                def __getitem__(self, key): ran('item'); return self if isinstance(key, slice) else 0
                def isna(self): ran('isna'); return np.zeros(self.count, bool)
                def copy(self): return self
                def take(self, *args, **kwargs): return self
                @classmethod
                def _from_sequence(cls, *args, **kwargs): return Own(2)
            frame = Frame({'a': [1, 2]})
            labels = Labels._simple_new(np.array(['x', 'y'], dtype=object), name=None)
            labelled = pd.DataFrame({'a': [1, 2]}); labelled.index = labels
            objects = pd.DataFrame({'o': [Hostile(), None]}, index=pd.Index([Hostile(), 'z'], dtype=object))
            categories = pd.Series(pd.Categorical.from_codes([0, -1], categories=pd.Index([Hostile()], dtype=object)))
            zoned = pd.Series(pd.to_datetime(['2024-01-01', None])).dt.tz_localize('UTC').dt.tz_convert(Zone())
            own = pd.DataFrame({'own': Own(2), 'a': [1, 2]})
            sparse = pd.Series(pd.arrays.SparseArray([1, 2]))
            armed.append(1)
            """
        )
        before = self.kernel.stdout.everything
        expected = {
            "frame": ["1", "2"],
            "labelled": ["1", "2"],
            "objects": ["<Hostile object>", "None"],
            "categories": ["<Hostile object>", "NaN"],
            "zoned": ["2024-01-01+00:00", "NaT"],
            "own": ["…", "…"],
            "sparse": ["1", "2"],
        }
        for name, cells in expected.items():
            look = self.look(name)
            self.assertIsNotNone(look["table"], name)
            self.assertEqual([row[0] for row in look["table"]["head"]], cells, name)
        self.assertEqual(self.look("labelled")["table"]["index"], ["x", "y"])
        self.assertEqual(self.look("own")["table"]["describe"]["own"], {})
        self.assertIsNone(self.look("own")["bytes"])
        self.kernel.stdout.read()
        self.assertEqual(self.kernel.stdout.everything, before)

    def test_scalars(self):
        self.run_ok("t = pd.Timestamp('2024-01-01 10:00'); n = pd.NA; i = pd.Interval(0, 1)")
        previews = {entry["name"]: entry["preview"] for entry in self.kernel.inspect()["variables"]}
        self.assertEqual(previews, {"i": "(0, 1]", "n": "<NA>", "t": "2024-01-01 10:00:00"})

    @needs("pyarrow")
    def test_arrow_columns(self):
        self.run_ok(
            """
            import pyarrow as pa
            def column(values, kind): return pd.array(values, dtype=pd.ArrowDtype(kind))
            it = pd.DataFrame({
                'i': column([1, None], pa.int64()), 'f': column([.3, None], pa.float32()), 's': column(['a', None], pa.string()),
                'l': column([[1, 2], None], pa.list_(pa.int64())), 'st': column([{'k': 1}, None], pa.struct([('k', pa.int64())])),
                't': column([pd.Timestamp('2024-01-01 01:02'), None], pa.timestamp('ns')),
            })
            """
        )
        table = self.look("it")["table"]
        self.assertEqual(table["head"], [["1", "0.3", "a", "[1, 2]", "{'k': 1}", "2024-01-01 01:02:00"], ["<NA>"] * 6])
        self.assertEqual((table["describe"]["i"]["mean"], table["describe"]["s"]["unique"]), (1, 1))
        self.assertEqual(table["describe"]["l"], {"count": 1, "missing": 1})


@needs("polars")
class PolarsTest(LookTest):
    def test_frame(self):
        self.run_ok(
            """
            import polars as pl, datetime
            class Hostile:
                def any(self, *args): print('ran'); return 1
                __repr__ = __str__ = __eq__ = __len__ = __bool__ = __hash__ = any
            it = pl.DataFrame({
                'i': [1, 2, None], 'f': [.5, float('nan'), None], 's': ['x' * 100, 'y', None], 'b': [True, False, None],
                'd': [datetime.datetime(2024, 1, 1, 2), None, None], 'l': [[1, 2], None, []], 'o': [Hostile(), None, Hostile()],
            }, schema_overrides={'o': pl.Object})
            size, lazy, series = it.estimated_size(), it.lazy(), it['i']
            """
        )
        look = self.look("it")
        self.assertEqual((look["shape"], look["dtype"], str(look["bytes"])), ([3, 7], None, self.kernel.value("size")))
        table = look["table"]
        self.assertEqual(table["head"][0], ["1", "0.5", "x" * 59 + "…", "True", "2024-01-01 02:00:00", "[1, 2]", "<Hostile object>"])
        self.assertEqual(table["head"][2], ["None"] * 5 + ["[]", "<Hostile object>"])
        self.assertEqual([table["describe"]["i"][name] for name in NUMBERS][:3], [2, 1, 1.5])
        self.assertEqual(table["describe"]["f"]["missing"], 2)
        self.assertEqual(table["describe"]["s"], {"count": 2, "missing": 1, "unique": 2})
        self.assertEqual(table["describe"]["o"], {"count": 2, "missing": 1})
        look = self.look("lazy")
        self.assertEqual((look["type"], look["table"], look["shape"]), ("LazyFrame", None, None))
        self.assertEqual(self.look("series")["table"]["columns"], [{"name": "i", "dtype": "Int64"}])
        self.assertEqual(self.run_ok("1").stdout, "")


@needs("torch")
class TorchTest(LookTest):
    def test_tensors(self):
        self.run_ok(
            """
            import torch
            it = torch.arange(6.).reshape(2, 3).requires_grad_()
            grown = it * 2
            class Sub(torch.Tensor):
                @classmethod
                def __torch_function__(cls, function, types, args=(), kwargs=None):
                    print('ran')
                    return super().__torch_function__(function, types, args, kwargs or {})
            sub = torch.ones(2).as_subclass(Sub)
            elsewhere = torch.zeros(3, device='meta')
            """
        )
        look = self.look("it")
        self.assertEqual((look["shape"], look["dtype"], look["bytes"]), ([2, 3], "torch.float32", 24))
        self.assertEqual((look["table"]["head"][1], look["table"]["describe"]["0"]["mean"]), (["3.0", "4.0", "5.0"], 1.5))
        self.assertEqual(self.look("grown")["table"]["head"][1], ["6.0", "8.0", "10.0"])
        self.assertEqual(self.look("sub")["table"]["head"], [["1.0"], ["1.0"]])
        self.assertEqual((self.look("elsewhere")["shape"], self.look("elsewhere")["table"]), ([3], None))
        run = self.run_ok("grown.sum().backward(); it.grad.tolist(), it.is_leaf")
        self.assertEqual((run.stdout, run.text), ("", "([[2.0, 2.0, 2.0], [2.0, 2.0, 2.0]], True)"))


if __name__ == "__main__":
    unittest.main()
