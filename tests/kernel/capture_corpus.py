"""Python types and situations, and what becomes of each when its session is captured and restored elsewhere.

A case is cells, run one after another; `after`, which the restored session runs and which must hold; and `lost`, the
variables that must be reported as lost, each with words of the reason. Everything else must be restored. `noted` are
variables that come back with something changed, and words of what is said about it.
"""

from __future__ import annotations

import sys


class Case:
    def __init__(self, name, cells, after="", lost=None, noted=None, since=(3, 9), until=(4,), needs=(), steady=True):
        self.name = name
        self.cells = [cells] if isinstance(cells, str) else cells
        self.after = after
        self.lost = lost or {}
        self.noted = noted or {}
        self.needs = needs
        self.steady = steady
        """Pickling it changes nothing in it."""
        self.runs = since <= sys.version_info[:2] < until


CASES: list = []


def case(name, cells, after="", **options):
    CASES.append(Case(name, cells, after, **options))


# ── values ──────────────────────────────────────────────────────────────────────────────────────────────────────
case("numbers", "i = 10**50; f = 0.1; c = 1+2j; b = True; n = None; nan = float('nan'); inf = float('-inf'); z = -0.0",
     "assert (i, f, c, b, n) == (10**50, 0.1, 1+2j, True, None) and b is True and nan != nan and inf < 0 and str(z) == '-0.0'")
case("texts", "s = 'é\\ud800'; e = ''; b = b'\\x00\\xff'; ba = bytearray(b'ab'); long = 'x' * 100000",
     "assert s == 'é\\ud800' and e == '' and b == b'\\x00\\xff' and ba == b'ab' and type(ba) is bytearray and len(long) == 100000")
case("singletons", "e = ...; n = NotImplemented; t = type(None); te = type(...)", "assert e is ... and n is NotImplemented and t is type(None) and te is type(...)")
case("containers", "x = [1, (2, {3: {4}})]; fs = frozenset({1, 'a'}); r = range(3, 9, 2); sl = slice(1, None, 2)",
     "assert x == [1, (2, {3: {4}})] and fs == {1, 'a'} and r == range(3, 9, 2) and sl == slice(1, None, 2)")
case("a list in itself", "x = []; x.append(x); d = {}; d['d'] = d; t = ([],); t[0].append(t)", "assert x[0] is x and d['d'] is d and t[0][0] is t")
case("shared references", "a = []; b = {'k': a}; c = (a, b); alone = []", "assert b['k'] is a and c[0] is a and c[1] is b\na.append(1)\nassert b == {'k': [1]} and alone == []")
case("shared by objects", "class A: pass\nx = A(); y = A(); x.other = y; y.other = x; z = A()", "assert x.other is y and y.other is x and type(x) is type(z) is A")
case("private names", "_x = 1; __y = [2]; _ = 3", "assert (_x, __y, _) == (1, [2], 3)")
case("order of a dictionary", "d = {'b': 1, 'a': 2, 3: 3}; del d['b']; d['b'] = 1", "assert list(d) == ['a', 3, 'b']")
case("sets of texts", "s = {f'key{i}' for i in range(500)}; d = dict.fromkeys(s)", "assert s == {f'key{i}' for i in range(500)} and set(d) == s")
case("collections", "import collections as C\nd = C.deque([1, 2], maxlen=3); o = C.OrderedDict(b=1, a=2); c = C.Counter('aab'); dd = C.defaultdict(list, a=[1]); m = C.ChainMap({'a': 1}, {'b': 2}); u = C.UserDict(a=1); ul = C.UserList([1]); us = C.UserString('x')",
     "assert d == C.deque([1, 2]) and d.maxlen == 3 and list(o) == ['b', 'a'] and c['a'] == 2 and dd['new'] == [] and m['b'] == 2 and u['a'] == 1 and ul == [1] and us == 'x'")
case("array", "from array import array\na = array('d', [1.5, 2]); v = array('B', b'abc')", "assert a == array('d', [1.5, 2]) and v.tobytes() == b'abc'")
case("decimal and fractions", "from decimal import Decimal\nfrom fractions import Fraction\nd = Decimal('1.10'); f = Fraction(1, 3)", "assert str(d) == '1.10' and f == Fraction(1, 3)")
case("dates", "import datetime as D\nd = D.date(2020, 1, 2); t = D.datetime(2020, 1, 2, 3, tzinfo=D.timezone.utc); td = D.timedelta(1, 2, 3); tm = D.time(1, fold=1); tz = D.timezone(D.timedelta(hours=2), 'X')",
     "assert d == D.date(2020, 1, 2) and t.tzinfo is D.timezone.utc and td == D.timedelta(1, 2, 3) and tm.fold == 1 and tz.tzname(None) == 'X'")
case("zoneinfo", "import zoneinfo, datetime\ntry:\n    z = zoneinfo.ZoneInfo('Europe/Berlin')\nexcept zoneinfo.ZoneInfoNotFoundError:\n    z = None\nt = datetime.datetime(2024, 7, 1, tzinfo=z)",
     "assert z is None or t.tzinfo is z or t.tzinfo.key == 'Europe/Berlin'")
case("uuid, ip, paths", "import uuid, ipaddress, pathlib\nu = uuid.UUID(int=5); i = ipaddress.ip_address('::1'); n = ipaddress.ip_network('10.0.0.0/8'); p = pathlib.Path('/a/b'); q = pathlib.PurePosixPath('c')",
     "assert u.int == 5 and str(i) == '::1' and n.prefixlen == 8 and p.name == 'b' and str(q) == 'c'")
case("regular expressions", "import re\np = re.compile('(a)(?P<n>b)?', re.I); m = p.search('xAB'); ms = list(re.finditer('a.', 'a1a2a3'))",
     "assert p.flags & re.I and m.span() == (1, 3) and m['n'] == 'B' and [x.span() for x in ms] == [(0, 2), (2, 4), (4, 6)]")
case("types and aliases", "import typing, types\na = list[int]; b = typing.Dict[str, int]; o = typing.Optional[int]; t = int; ex = ValueError; f = types.FunctionType; g = types.GeneratorType; c = typing.Callable[[int], str]; l = typing.Literal['a']",
     "assert a == list[int] and b == typing.Dict[str, int] and o == typing.Optional[int] and t is int and ex is ValueError and f is type(lambda: 0) and g is types.GeneratorType and c == typing.Callable[[int], str] and l == typing.Literal['a']")
case("union types", "u = int | None; v = list[int] | str", "assert u == (int | None) and v == (list[int] | str)", since=(3, 10))
case("builtins", "p = print; l = len; a = [3, 1]; ap = a.append; j = ''.join; fk = dict.fromkeys; w = str.upper; mw = (5).__add__",
     "ap(2)\nassert p is print and l is len and a == [3, 1, 2] and j(['a', 'b']) == 'ab' and fk('a') == {'a': None} and w('a') == 'A' and mw(1) == 6")
case("modules", "import os.path, json as j, collections.abc, xml.etree.ElementTree as ET, sys", "assert j.loads('1') == 1 and os.path.join('a', 'b') == 'a/b' and ET.fromstring('<a/>').tag == 'a' and collections.abc.Mapping and sys.modules['json'] is j")
case("simple namespaces", "import types, argparse\ns = types.SimpleNamespace(a=[1]); n = argparse.Namespace(x=2)", "assert s.a == [1] and n.x == 2")
case("mapping proxies", "import types\nd = {'a': 1}; m = types.MappingProxyType(d); e = types.MappingProxyType({'only': []})", "d['b'] = 2\nassert m['b'] == 2 and type(m) is types.MappingProxyType and e['only'] == []")
case("views of dictionaries", "d = {'a': 1}; k = d.keys(); v = d.values(); i = d.items()", "d['b'] = 2\nassert list(k) == ['a', 'b'] and list(v) == [1, 2] and ('b', 2) in i")
case("memory views", "b = bytearray(b'hello'); m = memoryview(b); part = m[1:3]; ro = memoryview(b'fixed')", "m[0] = 74\nassert b == b'Jello' and ro.readonly and bytes(ro) == b'fixed'\npart[0] = 69\nassert b == b'JEllo'")
case("iterators", "import itertools as I\nl = [1, 2, 3]; i = iter(l); next(i); e = enumerate('ab'); z = zip([1, 2], 'ab'); m = map(str, [1, 2]); f = filter(None, [0, 1]); r = reversed([1, 2]); c = I.count(5); ch = I.chain([1], [2]); next(c)",
     "assert list(i) == [2, 3] and list(e) == [(0, 'a'), (1, 'b')] and list(z) == [(1, 'a'), (2, 'b')] and list(m) == ['1', '2'] and list(f) == [1] and list(r) == [2, 1] and next(c) == 6 and list(ch) == [1, 2]", until=(3, 14))
case("streams in memory", "import io\ns = io.StringIO('abc'); s.read(1); b = io.BytesIO(b'xyz'); b.seek(2); w = io.StringIO(newline=''); w.write('a\\r\\n')", "assert s.read() == 'bc' and b.read() == b'z' and w.getvalue() == 'a\\r\\n'")
case("random numbers", "import random\nr = random.Random(1); r.random(); s = random.SystemRandom(); expected = random.Random(); expected.setstate(r.getstate())", "assert r.random() == expected.random() and 0 <= s.random() < 1")
case("templates, structs, hashes", "import string, struct\nt = string.Template('$a'); s = struct.Struct('<I')", "assert t.substitute(a=1) == '1' and s.pack(1) == b'\\1\\0\\0\\0'")
case("a hash in progress", "import hashlib\nh = hashlib.sha256(b'x')", lost={"h": "cannot pickle"})
case("parsers", "import argparse, configparser\np = argparse.ArgumentParser(prog='x'); p.add_argument('-n', type=int, default=3); c = configparser.ConfigParser(); c.read_string('[a]\\nb=1')", "assert p.parse_args(['-n', '5']).n == 5 and c['a']['b'] == '1'")
case("trees", "import ast, xml.etree.ElementTree as E\nt = ast.parse('x = 1'); e = E.fromstring('<a><b c=\"1\"/></a>')", "assert ast.dump(t) == ast.dump(ast.parse('x = 1')) and e[0].get('c') == '1'")
case("signatures", "import inspect\ndef f(a, *, b=1): pass\ns = inspect.signature(f)", "assert str(s) == '(a, *, b=1)' and s.parameters['a'].default is inspect.Parameter.empty")
case("weak references", "import weakref\nclass A: pass\na = A(); r = weakref.ref(a); d = weakref.WeakValueDictionary(k=a); s = weakref.WeakSet([a]); gone = weakref.ref(A())", "assert r() is a and d['k'] is a and a in s and gone() is None")
case("code objects", "c = compile('1 + 1', '<made>', 'eval'); def_ = (lambda x: x + 1).__code__", "assert eval(c) == 2 and def_.co_varnames == ('x',)")
case("completed processes", "import subprocess\nd = subprocess.run(['echo', 'a'], capture_output=True)", "assert d.stdout == b'a\\n' and d.returncode == 0")
case("sentinels of modules", "import dataclasses, inspect\nm = dataclasses.MISSING; e = inspect.Signature.empty", "assert m is dataclasses.MISSING and e is inspect.Signature.empty")
case("a sentinel of the session", "MISSING = object(); d = {'a': MISSING}\ndef get(k, default=MISSING): return default is MISSING", "assert d['a'] is MISSING and get(1)")
case("streams of the session", "import sys\nout = sys.stdout; k = {'file': sys.stderr}", "assert out is sys.stdout and k['file'] is sys.stderr")
case("the environment itself", "import os, sys\ne = os.environ; p = sys.path", "assert e is os.environ and p is sys.path")
case("large texts and bytes", "b = bytes(range(256)) * 4000; ba = bytearray(b); l = [b, b]", "assert len(b) == 1024000 and ba == b and l[0] is l[1]")
case("many small objects", "d = {i: {'n': i, 't': str(i)} for i in range(20000)}", "assert len(d) == 20000 and d[777] == {'n': 777, 't': '777'}")
case("integers as keys of each kind", "d = {1: 'int', 'a': 'str', (1, 2): 'tuple', None: 'none', 1.5: 'float', frozenset(): 'set'}", "assert d[(1, 2)] == 'tuple' and d[None] == 'none' and d[frozenset()] == 'set'")

# ── functions ───────────────────────────────────────────────────────────────────────────────────────────────────
case("functions", "def f(a, b=2, *c, d=4, **e) -> int:\n    'Doc.'\n    return a + b + d\nf.mark = [1]", "import inspect\nassert f(1) == 7 and f.__doc__ == 'Doc.' and f.mark == [1] and f.__annotations__ == {'return': int} and inspect.getsource(f).startswith('def f(a') and f.__globals__ is globals() and f.__module__ == '__main__'")
case("functions use live globals", "n = 1\ndef f(): return n", "n = 5\nassert f() == 5")
case("lambdas", "a = lambda x: x + 1; b = [lambda: 1, lambda: 2]; c = {'k': lambda *a, k=3: (a, k)}", "assert a(1) == 2 and [g() for g in b] == [1, 2] and c['k'](1) == ((1,), 3)")
case("closures share cells", "def make():\n    n = 0\n    def up():\n        nonlocal n\n        n += 1\n        return n\n    return up, lambda: n\nup, get = make()\nup()", "assert up() == 2 and get() == 2")
case("closures made in a loop", "fs = [(lambda i: lambda: i)(i) for i in range(4)]", "assert [f() for f in fs] == [0, 1, 2, 3]")
case("closures over shared data", "def make():\n    log = []\n    return log, lambda x: log.append(x)\nlog, add = make()", "add(1)\nassert log == [1]")
case("empty cells", "def make():\n    def f(): return late\n    if 0: late = 1\n    return f\nf = make()", "try:\n    f()\nexcept NameError: pass\nelse: assert 0")
case("recursive functions", "def fact(n): return 1 if n < 2 else n * fact(n - 1)\ndef outer():\n    def inner(n): return n if n < 1 else inner(n - 1)\n    return inner\ng = outer()", "assert fact(5) == 120 and g(3) == 0 and g.__closure__[0].cell_contents is g")
case("default arguments are shared", "acc = []\ndef f(x, acc=acc): acc.append(x)", "f(1)\nassert acc == [1]")
case("wrapping decorators", "import functools\ndef deco(f):\n    @functools.wraps(f)\n    def inner(*a): return f(*a) * 2\n    return inner\n@deco\ndef g(x):\n    'G.'\n    return x", "assert g(2) == 4 and g.__name__ == 'g' and g.__doc__ == 'G.' and g.__wrapped__(2) == 2")
case("cached functions", "import functools\n@functools.lru_cache(maxsize=7)\ndef f(n): return n if n < 2 else f(n-1) + f(n-2)\n@functools.cache\ndef g(): return 1\nf(10)", "assert f.cache_info().maxsize == 7 and f.cache_info().currsize == 0 and f(10) == 55 and g() == 1 and f.__wrapped__.__name__ == 'f'", noted={"f": "cache is empty"})
case("partials", "import functools\ndef f(a, b): return a - b\np = functools.partial(f, 10); q = functools.partial(int, base=2); l = []\nr = functools.partial(l.append)", "r(1)\nassert p(3) == 7 and q('101') == 5 and p.func is f and l == [1]")
case("single dispatch", "import functools\n@functools.singledispatch\ndef f(x): return 'any'\n@f.register\ndef _(x: int): return 'int'", "assert f(1) == 'int' and f('') == 'any'\n@f.register\ndef _(x: str): return 'str'\nassert f('') == 'str'")
case("context managers", "import contextlib\n@contextlib.contextmanager\ndef cm():\n    yield 5\nn = contextlib.nullcontext(3); s = contextlib.suppress(KeyError)", "with cm() as v: assert v == 5\nwith s: {}['x']")
case("generator functions", "def g():\n    yield 1\n    yield 2\nasync def co(): return 1\nasync def ag():\n    yield 1", "import inspect\nassert list(g()) == [1, 2] and inspect.iscoroutinefunction(co) and inspect.isasyncgenfunction(ag)")
case("functions of one line in several cells", ["def f(): return 'first'\nold = f", "def f(): return 'second'"], "assert old() == 'first' and f() == 'second'")
case("functions with future annotations", ["from __future__ import annotations", "def f(x: Undefined): return 1"], "assert f.__annotations__ == {'x': 'Undefined'}\ndef g(y: AlsoUndefined): pass\nassert g.__annotations__['y'] == 'AlsoUndefined'")
case("functions made by exec", "exec('def f(x):\\n    return x + n')\nn = 1", "assert f(1) == 2")
case("functions with globals of their own", "ns = {'n': 5}\nexec('def f(): return n\\ndef g(): return f()', ns)\nf = ns['f']", "assert f() == 5 and f.__globals__ is ns\nns['n'] = 6\nassert ns['g']() == 6")
case("functions over other code", "import types\ndef f(): return 1\ng = types.FunctionType(f.__code__, globals(), 'g'); h = types.FunctionType(f.__code__.replace(co_consts=(None, 9)), {})", "assert g() == 1 and g.__name__ == 'g' and h() == 9", until=(3, 14))
case("functions of magic cells", "x = !echo hi\ndef f(): return 'ok'", "assert f() == 'ok' and list(x) == ['hi']")
case("functions that use magics", "def f():\n    out = !echo deep\n    return out", "assert list(f()) == ['deep']")
case("methods", "class A:\n    def __init__(self): self.n = 1\n    def up(self):\n        self.n += 1\n        return self.n\na = A(); m = a.up; u = A.up\nimport types\nextra = types.MethodType(lambda self: self.n * 10, a)", "assert m() == 2 and a.n == 2 and u(a) == 3 and extra() == 30 and m.__self__ is a")
case("operators", "import operator as o\na = o.itemgetter(1, 2); b = o.attrgetter('x.y'); c = o.methodcaller('upper')", "assert a('abc') == ('b', 'c') and c('a') == 'A'")
case("a function with a generator in its closure", "def make():\n    g = (i for i in range(3))\n    def f(): return next(g)\n    return f\nf = make(); fine = 1", lost={"f": "generator"})
case("functions with type parameters", "def f[T](x: T) -> T: return x", "assert f(1) == 1 and f.__type_params__[0].__name__ == 'T' and f.__annotations__['x'] is f.__type_params__[0]", since=(3, 12))
case("functions annotated with classes of cells", "class A: pass\ndef f(a: A, b: 'A') -> list[A]: ...", "import typing\nassert typing.get_type_hints(f) == {'a': A, 'b': A, 'return': list[A]}")

# ── classes ─────────────────────────────────────────────────────────────────────────────────────────────────────
case("classes", "class A:\n    'Doc.'\n    x = [1]\n    def __init__(self, v): self.v = v\n    def __repr__(self): return f'A({self.v})'\n    def __eq__(self, o): return self.v == o.v\n    __hash__ = None\na = A(1); b = A(1)", "assert a == b and repr(a) == 'A(1)' and A.__doc__ == 'Doc.' and type(a) is A and A.x == [1] and A.__hash__ is None and A.__module__ == '__main__'")
case("inheritance and super", "class A:\n    def f(self): return 'A'\nclass B(A):\n    def f(self): return 'B' + super().f()\nclass C(B):\n    def f(self): return 'C' + super().f()\nc = C()", "assert c.f() == 'CBA' and C.__mro__ == (C, B, A, object) and B.f.__closure__[0].cell_contents is B")
case("multiple inheritance", "class A: pass\nclass B: pass\nclass C(A, B, dict): pass\nc = C(a=1); c.x = 2", "assert c == {'a': 1} and c.x == 2 and C.__bases__ == (A, B, dict)")
case("properties and methods of classes", "class A:\n    def __init__(self): self._x = 1\n    @property\n    def x(self):\n        'X.'\n        return self._x\n    @x.setter\n    def x(self, v): self._x = v\n    @staticmethod\n    def s(): return 's'\n    @classmethod\n    def c(cls): return cls\na = A()", "a.x = 5\nassert a.x == 5 and A.s() == 's' and A.c() is A and A.x.__doc__ == 'X.'")
case("slots", "class A:\n    __slots__ = ('x', '__y', '__weakref__')\n    def __init__(self): self.x, self.__y = 1, [2]\n    def y(self): return self.__y\nclass B(A):\n    __slots__ = 'z'\na, b = A(), B(); b.z = 3", "assert a.x == 1 and a.y() == [2] and b.z == 3 and not hasattr(a, '__dict__')\ntry:\n    a.w = 1\nexcept AttributeError: pass\nelse: assert 0")
case("slots with dictionaries", "class A:\n    __slots__ = {'x': 'The x.'}\nclass B(A): pass\nb = B(); b.x = 1; b.y = 2", "assert b.x == 1 and b.y == 2 and A.__slots__ == {'x': 'The x.'}")
case("abstract classes", "import abc\nclass A(abc.ABC):\n    @abc.abstractmethod\n    def f(self): ...\nclass B(A):\n    def f(self): return 1\nclass V: pass\nA.register(V); A.register(int)\nb = B()", "assert b.f() == 1 and isinstance(V(), A) and isinstance(3, A) and not isinstance('', A)\ntry:\n    A()\nexcept TypeError: pass\nelse: assert 0")
case("enumerations", "import enum\nclass C(enum.Enum):\n    RED = 1\n    CRIMSON = 1\n    BLUE = 'b'\n    def hot(self): return self is C.RED\nc = C.BLUE; l = [C.RED, c]; d = {C.RED: 1}", "assert c is C.BLUE and C('b') is c and l[0].hot() and C.CRIMSON is C.RED and list(C) == [C.RED, C.BLUE] and d[C.RED] == 1 and C['RED'] is C.RED and repr(C.RED) == '<C.RED: 1>'")
case("enumerations of other kinds", "import enum\nclass I(enum.IntEnum):\n    A = 1\nclass F(enum.Flag):\n    R = enum.auto()\n    W = enum.auto()\nclass S(str, enum.Enum):\n    X = 'x'\nclass T(tuple, enum.Enum):\n    P = (1, 2)\ni, f, s, t = I.A, F.R | F.W, S.X, T.P", "assert i is I.A and i + 1 == 2 and f == F.R | F.W and F.R in f and s is S.X and s == 'x' and t is T.P and t[1] == 2 and F(2) is F.W")
case("enumerations with constructors", "import enum\nmade = []\nclass P(enum.Enum):\n    EARTH = (1, 2)\n    MARS = (3, 4)\n    def __init__(self, mass, radius):\n        self.mass, self.radius = mass, radius\n        made.append(self.name if hasattr(self, 'name') else 0)\np = P.MARS", "assert p is P.MARS and p.mass == 3 and len(made) == 2 and P((1, 2)) is P.EARTH")
case("string enumerations", "import enum\nclass S(enum.StrEnum):\n    A = enum.auto()\ns = S.A", "assert s is S.A and s == 'a'", since=(3, 11))
case("functional enumerations", "import enum\nE = enum.Enum('E', 'A B'); e = E.B", "assert e is E.B and E(1) is E.A")
case("dataclasses", "import dataclasses\n@dataclasses.dataclass(order=True)\nclass P:\n    x: int\n    y: list = dataclasses.field(default_factory=list, repr=False)\n    c: dataclasses.InitVar[int] = 0\n@dataclasses.dataclass(frozen=True)\nclass F:\n    p: P\np = P(1, [2]); f = F(p)", "assert p == P(1, [2]) and P(1) < P(2) and repr(p) == 'P(x=1)' and P(3).y == [] and dataclasses.replace(p, x=5, c=0).x == 5 and f.p is p and [i.name for i in dataclasses.fields(P)] == ['x', 'y']\ntry:\n    f.p = 1\nexcept dataclasses.FrozenInstanceError: pass\nelse: assert 0")
case("dataclasses with slots", "import dataclasses\n@dataclasses.dataclass(slots=True, kw_only=True)\nclass P:\n    x: int\n    y: int = 2\np = P(x=1)", "assert p == P(x=1, y=2) and not hasattr(p, '__dict__')", since=(3, 10))
case("named tuples", "import collections, typing\nA = collections.namedtuple('A', 'x y', defaults=[5])\nclass B(typing.NamedTuple):\n    x: int\n    y: str = 'z'\n    def both(self): return (self.x, self.y)\na, b = A(1), B(2)", "assert a == (1, 5) and a.y == 5 and a._replace(x=3) == A(3) and b.both() == (2, 'z') and B._field_defaults == {'y': 'z'} and repr(a) == 'A(x=1, y=5)' and A._make([1, 2]).y == 2")
case("typed dictionaries", "import typing\nclass T(typing.TypedDict, total=False):\n    a: int\nt: T = {'a': 1}", "assert T(a=2) == {'a': 2} and T.__total__ is False and T.__annotations__ == {'a': int}")
case("protocols", "import typing\n@typing.runtime_checkable\nclass P(typing.Protocol):\n    def close(self): ...\nclass F:\n    def close(self): ...\nf = F()", "assert isinstance(f, P) and not isinstance(1, P)\ntry:\n    P()\nexcept TypeError: pass\nelse: assert 0")
case("generic classes", "import typing\nT = typing.TypeVar('T', bound=int); K = typing.TypeVar('K', int, str)\nclass G(typing.Generic[T]):\n    def __init__(self, x: T): self.x = x\nclass H(G[int]): pass\ng, h, a = G(1), H(2), G[int]", "assert g.x == 1 and h.x == 2 and a == G[int] and G.__parameters__ == (T,) and T.__bound__ is int and K.__constraints__ == (int, str) and a(3).x == 3 and H.__orig_bases__ == (G[int],)")
case("classes with type parameters", "class G[T]:\n    def f(self, x: T) -> T: return x\ntype L[T] = list[T]\ng = G[int](); l = L[int]", "assert g.f(1) == 1 and G.__type_params__[0].__name__ == 'T' and L.__value__ == list[L.__type_params__[0]] and l.__origin__ is L", since=(3, 12))
case("new types", "import typing\nN = typing.NewType('N', int); l = [N]", "assert N(5) == 5 and l[0] is N and N.__supertype__ is int")
case("metaclasses", "log = []\nclass M(type):\n    def __new__(m, name, bases, ns, **k):\n        log.append(('new', name, k))\n        return super().__new__(m, name, bases, ns)\n    def __init__(c, name, bases, ns, **k): log.append(('init', name))\n    def __call__(c, *a):\n        o = super().__call__(*a)\n        o.called = True\n        return o\n    @property\n    def shout(c): return c.__name__.upper()\nclass a(metaclass=M, key=1): pass\nx = a()", "assert log == [('new', 'a', {'key': 1}), ('init', 'a')] and a.shout == 'A' and x.called and a().called and type(a) is M")
case("subclasses are told once", "class Plugin:\n    registry = {}\n    def __init_subclass__(cls, name='', **k):\n        super().__init_subclass__(**k)\n        Plugin.registry[name] = cls\nclass A(Plugin, name='a'): pass\nclass B(A, name='b'): pass", "assert Plugin.registry == {'a': A, 'b': B}\nclass C(B, name='c'): pass\nassert Plugin.registry['c'] is C")
case("descriptors are named once", "class D:\n    def __init__(self): self.names = []\n    def __set_name__(self, owner, name): self.names.append(name)\n    def __get__(self, o, t=None): return self if o is None else 42\nclass A:\n    x = D()\na = A()", "assert A.x.names == ['x'] and a.x == 42")
case("objects of a class in its attributes", "class A:\n    def __init__(self, n): self.n = n\nA.zero = A(0); A.all = [A.zero, A(1)]\na = A.zero", "assert A.zero.n == 0 and a is A.zero and A.all[0] is a and type(A.all[1]) is A")
case("a singleton", "class S:\n    _one = None\n    def __new__(cls):\n        if cls._one is None: cls._one = super().__new__(cls)\n        return cls._one\ns = S(); s.x = [1]", "assert S() is s and S._one is s and s.x == [1]")
case("nested and local classes", "class A:\n    class B:\n        class C: n = 1\ndef make():\n    class L:\n        def me(self): return L\n    return L\nb = A.B.C(); L = make(); l = L()", "assert type(b) is A.B.C and b.n == 1 and l.me() is L and L.__qualname__ == 'make.<locals>.L'")
case("classes defined anew", ["class A:\n    v = 1\nold = A()", "class A:\n    v = 2\nnew = A()"], "assert old.v == 1 and new.v == 2 and type(new) is A and type(old) is not A")
case("state of objects", "class A:\n    def __getstate__(self): return {'x': self.x}\n    def __setstate__(self, s): self.x = s['x'] * 2\nclass B:\n    def __init__(self, n): self.n = n\n    def __reduce__(self): return (B, (self.n,))\nclass C:\n    def __getnewargs__(self): return (7,)\n    def __new__(cls, n): \n        o = super().__new__(cls); o.n = n\n        return o\na = A(); a.x = 1; b = B(3); c = C(7)", "assert a.x == 2 and b.n == 3 and c.n == 7")
case("subclasses of built-in types", "class L(list): pass\nclass D(dict):\n    def __missing__(self, k): return k\nclass S(str): pass\nclass I(int): pass\nclass T(tuple): pass\nclass E(set): pass\nl = L([1]); l.x = 1; d = D(a=1); s = S('a'); i = I(3); t = T((1, 2)); e = E({1})", "assert l == [1] and l.x == 1 and d['q'] == 'q' and s == 'a' and type(s) is S and i == 3 and type(i) is I and t == (1, 2) and type(t) is T and e == {1}")
case("cached properties", "import functools\nclass A:\n    n = 0\n    @functools.cached_property\n    def x(self):\n        A.n += 1\n        return A.n\na = A(); a.x; b = A()", "assert a.x == 1 and b.x == 2")
case("exceptions of cells", "class E(Exception):\n    def __init__(self, code, *, why): super().__init__(f'{code}: {why}'); self.code = code\ntry:\n    try:\n        raise KeyError('inner')\n    except KeyError as k:\n        raise E(5, why='w') from k\nexcept E as e: err = e\no = OSError(2, 'No', 'file'); u = UnicodeDecodeError('utf-8', b'x', 0, 1, 'bad')", "assert err.code == 5 and str(err) == '5: w' and isinstance(err.__cause__, KeyError) and err.__suppress_context__ and o.errno == 2 and o.filename == 'file' and u.reason == 'bad'", noted={"err": "traceback"})
case("groups of exceptions", "g = ExceptionGroup('g', [ValueError(1), ExceptionGroup('h', [KeyError(2)])]); g.add_note('n')", "assert [type(e) for e in g.exceptions] == [ValueError, ExceptionGroup] and g.__notes__ == ['n']", since=(3, 11))
case("trees and lists of nodes", "class N:\n    def __init__(self, v, up=None): self.v, self.up, self.kids = v, up, []\nroot = N(0)\nfor i in range(5): root.kids.append(N(i, root))\nleaf = root.kids[3]", "assert leaf.up is root and root.kids[3] is leaf and leaf.v == 3")
case("objects as keys", "class K:\n    def __init__(self, n): self.n = n\n    def __hash__(self): return hash(self.n)\n    def __eq__(self, o): return self.n == o.n\nk = K(1); d = {k: 'v'}; s = {k, K(2)}", "assert d[K(1)] == 'v' and K(2) in s and next(iter(d)) is k")
case("getattr that always answers", "class A:\n    def __getattr__(self, n):\n        if n.startswith('__'): raise AttributeError(n)\n        return n\na = A()", "assert a.anything == 'anything'")
case("single dispatch methods", "import functools\nclass A:\n    @functools.singledispatchmethod\n    def f(self, x): return 'any'\n    @f.register\n    def _(self, x: int): return 'int'\na = A()", "assert a.f(1) == 'int' and a.f('') == 'any'")
case("partial methods and total ordering", "import functools\n@functools.total_ordering\nclass A:\n    def __init__(self, n): self.n = n\n    def __eq__(self, o): return self.n == o.n\n    def __lt__(self, o): return self.n < o.n\n    def add(self, k): return self.n + k\n    add1 = functools.partialmethod(add, 1)\na, b = A(1), A(2)", "assert a <= b and b > a and a.add1() == 2")
case("type() with three arguments", "T = type('T', (), {'x': 1, 'f': lambda self: self.x})\nt = T()", "assert t.f() == 1 and type(t) is T")
case("make_dataclass", "import dataclasses\nM = dataclasses.make_dataclass('M', [('x', int), ('y', int, 3)])\nm = M(1)", "assert m == M(1, 3) and repr(m) == 'M(x=1, y=3)'")
case("classes that compare and hash badly", "class M(type):\n    def __hash__(c): raise RuntimeError\n    def __eq__(c, o): raise RuntimeError\nclass A(metaclass=M): pass\nx = 1", "assert x == 1", lost={})
case("ctypes structures", "import ctypes\nclass P(ctypes.Structure):\n    _fields_ = [('x', ctypes.c_int), ('y', ctypes.c_double)]\n    def total(self): return self.x + self.y\np = P(1, 2.5); a = (ctypes.c_int * 3)(1, 2, 3); i = ctypes.c_int(5)", "assert p.total() == 3.5 and i.value == 5 and list(a) == [1, 2, 3]")

# ── what needs a recipe ─────────────────────────────────────────────────────────────────────────────────────────
case("locks", "import threading\nl = threading.Lock(); r = threading.RLock(); e = threading.Event(); e.set(); c = threading.Condition(); s = threading.Semaphore(3); b = threading.Barrier(2); bs = threading.BoundedSemaphore(2)", "assert l.acquire(False) and r.acquire(False) and e.is_set() and s._value == 3 and b.parties == 2\nwith c: c.notify()")
case("locks that are shared", "import threading\nl = threading.Lock()\nclass A:\n    def __init__(self): self.lock = l\na = A()", "assert a.lock is l")
case("held locks", "import threading\nl = threading.Lock(); l.acquire(); r = threading.RLock(); r.acquire(); o = {'lock': l}", lost={"l": "held", "r": "held", "o": "held"})
case("queues", "import queue\nq = queue.Queue(); q.put([1]); p = queue.PriorityQueue(); p.put(2); s = queue.SimpleQueue(); s.put('a')", "assert q.get_nowait() == [1] and p.get_nowait() == 2 and s.get_nowait() == 'a'")
case("thread-local data", "import threading\nt = threading.local(); t.x = 1", "assert t.x == 1", noted={"t": "main thread"})
case("context variables", "import contextvars\nv = contextvars.ContextVar('v', default=1); w = contextvars.ContextVar('w'); w.set([2]); n = contextvars.ContextVar('n')", "assert v.get() == 1 and w.get() == [2] and n.get('none') == 'none' and v.name == 'v'")
case("loggers", "import logging\nlog = logging.getLogger('a.b'); log.setLevel(10); h = logging.StreamHandler(); h.setFormatter(logging.Formatter('%(message)s')); log.addHandler(h); plain = logging.getLogger('p')", "assert log is logging.getLogger('a.b') and log.level == 10 and log.handlers == [h] and h.formatter._fmt == '%(message)s' and plain.level == 0")
case("files for reading", "import os\nopen('r.txt', 'w').write('one\\ntwo\\n')\nf = open('r.txt'); f.readline(); b = open('r.txt', 'rb'); b.seek(4); u = open('r.txt', newline='', encoding='latin-1')", "assert f.readline() == 'two\\n' and b.read() == b'two\\n' and u.encoding == 'latin-1' and u.read() == 'one\\ntwo\\n' and f.name == 'r.txt' and f.mode == 'r'", noted={"f": "opened again"})
case("files for writing", "f = open('w.txt', 'w'); f.write('abc'); f.flush(); a = open('a.txt', 'a'); b = open('b.bin', 'wb', buffering=0); b.write(b'xy')", "f.write('def'); f.close()\nassert open('w.txt').read() == 'abcdef'\na.write('z'); a.close(); assert open('a.txt').read() == 'z'\nb.write(b'z'); b.close(); assert open('b.bin', 'rb').read() == b'xyz'")
case("files with unwritten text", "f = open('u.txt', 'w'); f.write('pending'); g = open('g.bin', 'wb'); g.write(b'pending'); done = open('d.txt', 'w'); done.close()", "assert open('u.txt').read() in ('', 'pending')", lost={"f": "not written yet", "g": "not written yet", "done": "closed"})
case("files that were deleted", "import os\nf = open('x.txt', 'w+'); os.unlink('x.txt')", lost={"f": "not at its path"})
case("pipes and sockets", "import os, socket\nr, w = os.pipe(); p = os.fdopen(r); s = socket.socket(); a, b = socket.socketpair()", lost={"p": "captured", "s": "socket", "a": "socket", "b": "socket"})
case("generators and coroutines", "g = (i for i in range(3)); next(g)\nasync def co(): pass\nc = co()\nasync def ag():\n    yield 1\na = ag(); rows = {'rows': [1, 2, [3, g]]}", "c2 = 1", lost={"g": "cannot pickle 'generator' object", "c": "coroutine", "a": "async_generator", "rows": "rows['rows'][2][1]"})
case("threads and pools", "import threading, concurrent.futures as F\nt = threading.Thread(target=print); p = F.ThreadPoolExecutor(1); f = p.submit(int); f.result(); p.shutdown()", lost={"t": "thread", "p": "threads", "f": "progress"})
case("running programs", "import subprocess\np = subprocess.Popen(['sleep', '0'])\np.wait()", lost={"p": "running program"})
case("databases", "import sqlite3\nc = sqlite3.connect(':memory:'); cur = c.cursor(); row = c.execute('select 1').fetchone()", "assert row == (1,)", lost={"c": "database", "cur": "cannot pickle"})
case("memory maps", "import mmap\nm = mmap.mmap(-1, 10)", lost={"m": "cannot pickle"})
case("temporary folders", "import tempfile\nt = tempfile.TemporaryDirectory(); f = tempfile.NamedTemporaryFile()", lost={"t": "session removes", "f": "session removes"})
case("frames and tracebacks", "import sys\nfr = sys._getframe()\ntry: 1/0\nexcept Exception as e: tb = e.__traceback__", lost={"fr": "frame", "tb": "traceback"})
case("modules that no import finds", "import types\nm = types.ModuleType('made'); m.x = 1; ok = 1", "assert ok == 1", lost={"m": "module"})
case("asyncio", "import asyncio\nloop = asyncio.new_event_loop(); f = loop.create_future(); loop.close()", lost={"loop": "loop", "f": ""})
case("weak proxies and finalizers", "import weakref\nclass A: pass\na = A(); p = weakref.proxy(a); f = weakref.finalize(a, print)", "assert type(a) is A", lost={"p": "weakproxy", "f": "finalizer"})

# ── hostile objects ─────────────────────────────────────────────────────────────────────────────────────────────
case("reductions that raise", "class A:\n    def __reduce__(self): raise ValueError('secret')\na = A(); b = [1, {'k': a}]; fine = [2]", "assert fine == [2]", lost={"a": "ValueError", "b": "b[1]['k']"})
case("reductions that end the process", "import os, sys\nclass A:\n    def __reduce__(self): sys.exit(3)\nclass B:\n    def __reduce__(self): raise KeyboardInterrupt\na, b, fine = A(), B(), 1", "assert fine == 1", lost={"a": "SystemExit", "b": "KeyboardInterrupt"})
case("reductions that lie", "class A:\n    def __reduce__(self): return 'x'\nclass B:\n    def __reduce__(self): return (1, 2, 3)\nclass C:\n    def __reduce__(self): return (int, ('no number',))\nclass D:\n    def __reduce__(self): return (lambda: 1, ())\na, b, c, x = A(), B(), C(), A()\nfine = 1", "assert fine == 1", lost={"a": "", "b": "", "c": "read back", "x": "name only"})
case("states that cannot be set", "class A:\n    def __setstate__(self, s): raise RuntimeError('no')\na = A(); a.x = 1", lost={"a": "read back"})
case("attributes that explode", "class A:\n    def __getattribute__(self, n): raise RuntimeError(n)\nclass B:\n    __slots__ = ()\n    @property\n    def __class__(self): raise RuntimeError\n    def __repr__(self): raise RuntimeError\n    def __bool__(self): raise RuntimeError\na = A(); fine = 1", "assert fine == 1", lost={"a": "RuntimeError"})
case("classes that explode", "class M(type):\n    def __getattribute__(c, n): raise RuntimeError(n)\n    def __instancecheck__(c, o): raise RuntimeError\n    def __subclasscheck__(c, o): raise RuntimeError\nfine = 1", "assert fine == 1 and M.__name__ == 'M'")
case("endless objects", "class A:\n    def __reduce__(self): return (list, ([A()],))\na = A(); fine = 1", "assert fine == 1", lost={"a": ""})
case("shadowed builtins", "import builtins\nlist = dict = type = len = None\nx = [1]", "assert x == [1] and list is None")
case("pickle taken away", "import pickle, copyreg, marshal\npickle.Pickler = pickle.dumps = pickle.PickleBuffer = None; marshal.dumps = None\nx = [1]\ndef f(): return 1", "assert x == [1] and f() == 1")
case("names that are odd", "globals()['not a name'] = 1; globals()['é'] = [2]; globals()[3] = 4", "assert globals()['not a name'] == 1 and globals()['é'] == [2]")

# ── libraries ───────────────────────────────────────────────────────────────────────────────────────────────────
NP = ("numpy",)
case("numpy arrays", "import numpy as np\na = np.arange(6).reshape(2, 3); f = np.asfortranarray(a * 1.5); b = a > 2; c = np.array([1j]); s = np.array(['a', 'bc']); e = np.empty((0, 3)); z = np.array(5); d = np.array(['2020-01-01'], 'M8[D]'); st = np.array([(1, 'a')], dtype=[('x', 'i4'), ('y', 'U3')]); be = np.array([1, 2], '>i4')",
     "assert (a == np.arange(6).reshape(2, 3)).all() and f.flags.f_contiguous and f[1, 2] == 7.5 and b.sum() == 3 and c[0] == 1j and s[1] == 'bc' and e.shape == (0, 3) and z[()] == 5 and str(d[0]) == '2020-01-01' and st['y'][0] == 'a' and be.dtype.byteorder == '>' and a.flags.owndata is not None\na[0, 0] = 9", needs=NP)
case("numpy arrays that share memory", "import numpy as np\na = np.zeros((4, 4)); b = a[1:3]; c = a.T; d = a[::2, ::-1]; e = a.copy()\nkept = np.arange(100)[10:20]", "a[1, 1] = 7\nassert b[0, 1] == 7 and c[1, 1] == 7 and e[1, 1] == 0 and kept[0] == 10\nd[1, 0] = 3\nassert a[2, 3] == 3", needs=NP)
case("numpy arrays of objects", "import numpy as np\nl = []; a = np.array([l, {'k': l}, None], dtype=object)", "assert a[0] is l and a[1]['k'] is l", needs=NP)
case("numpy's other things", "import numpy as np\ns = np.float32(1.5); dt = np.dtype('f8'); g = np.random.default_rng(1); g.random(); rs = np.random.RandomState(3); m = np.ma.array([1, 2], mask=[0, 1]); u = np.add; ro = np.arange(3); ro.flags.writeable = False; p = np.poly1d([1, 2]); nxt = np.random.default_rng(1).random(2)[1]", "assert s == 1.5 and type(s) is np.float32 and dt == np.dtype('f8') and g.random() == nxt and m.mask[1] and u is np.add and not ro.flags.writeable and p(1) == 3", needs=NP)
case("numpy files in memory", "import numpy as np\nnp.arange(5.).tofile('m.bin'); m = np.memmap('m.bin', dtype=float, mode='r')", "assert m[3] == 3 and type(m) is np.memmap", needs=NP, noted={"m": "file"})
PD = ("pandas",)
case("pandas", "import pandas as pd, numpy as np\ndf = pd.DataFrame({'a': [1, 2], 'b': ['x', None], 'c': pd.to_datetime(['2020', '2021'])}); s = df['a']; i = df.index; t = pd.Timestamp('2020', tz='UTC'); c = pd.Categorical(['a', 'b']); n = pd.NaT; na = pd.NA; mi = pd.MultiIndex.from_product([[1, 2], list('ab')]); g = df.groupby('a').sum(numeric_only=True); df.attrs['k'] = 1",
     "assert df.shape == (2, 3) and list(df.a) == [1, 2] and s.sum() == 3 and t.tz is not None and list(c) == ['a', 'b'] and n is pd.NaT and na is pd.NA and len(mi) == 4 and df.attrs == {'k': 1} and str(df.dtypes['c']).startswith('datetime64')", needs=PD)
case("pillow", "from PIL import Image\ni = Image.new('RGB', (4, 4), 'red')", "assert i.getpixel((1, 1)) == (255, 0, 0)", needs=("PIL",))
case("matplotlib", "import matplotlib\nmatplotlib.use('Agg')\nimport matplotlib.pyplot as plt\nfig, ax = plt.subplots(); line, = ax.plot([1, 2]); plt.close(fig)", "assert fig.axes[0] is ax and ax.lines[0] is line", needs=("matplotlib",), steady=False)
case("sympy", "import sympy\nx = sympy.Symbol('x'); e = x**2 + 1", "assert e.subs(x, 2) == 5 and sympy.diff(e, x) == 2*x", needs=("sympy",))
case("networkx", "import networkx as nx\ng = nx.path_graph(4); g.nodes[0]['k'] = [1]", "assert list(nx.shortest_path(g, 0, 3)) == [0, 1, 2, 3]", needs=("networkx",))
case("regex", "import regex\np = regex.compile(r'\\p{L}+')", "assert p.findall('aé 1') == ['aé']", needs=("regex",))
case("attrs", "import attr\n@attr.s(auto_attribs=True)\nclass A:\n    x: int\n    y: list = attr.Factory(list)\na = A(1)", "assert a == A(1) and a.y == [] and repr(a) == 'A(x=1, y=[])'", needs=("attr",))
case("pydantic", "import pydantic\nclass M(pydantic.BaseModel):\n    x: int\n    y: list[int] = []\nm = M(x='3')", "assert m.x == 3 and M(x=1).y == [] and m.model_dump() == {'x': 3, 'y': []}", needs=("pydantic",))

# ── depth ───────────────────────────────────────────────────────────────────────────────────────────────────────
case("long chains", "class N:\n    def __init__(self, next): self.next = next\nhead = None\nfor _ in range(20000): head = N(head)\nnested = []\nfor _ in range(20000): nested = [nested]", "n = 0\nwhile head: head, n = head.next, n + 1\nassert n == 20000\nn = 0\nwhile nested: nested, n = nested[0], n + 1\nassert n == 20000")

# ── objects of modules ──────────────────────────────────────────────────────────────────────────────────────────
case("functions of random", "import random\nfrom random import randint, random as rnd, choice\nrandom.seed(3); expected = [random.Random(3).random()]", "random.seed(3)\nassert rnd() == expected[0]\nassert randint.__self__ is random._inst and choice.__self__ is random._inst")
case("functions of numpy.random", "import numpy as np\nrand = np.random.rand; np.random.seed(4); expected = np.random.RandomState(4).rand(2)", "assert (rand(2) == expected).all() and rand.__self__ is np.random.mtrand._rand", needs=NP)
case("containers of modules", "import string, mimetypes\nmimetypes.init()\nt = mimetypes.types_map; d = vars(string); g = globals()", "assert t['.html'] == 'text/html' and d is vars(string) and g is globals()", noted={"t": "copy of mimetypes.types_map"})
case("modules of the session", "open('mine.py', 'w').write('class T:\\n    def __init__(self): self.x = [1]\\nONE = T()\\ndef f(): return ONE\\n')\nimport sys; sys.path.insert(0, '.')\nimport mine; from mine import ONE, f, T\nown = T()", "assert ONE is mine.ONE and f() is ONE and type(own) is T and own.x == [1]")

# ── attributes ──────────────────────────────────────────────────────────────────────────────────────────────────
case("attributes as a dictionary", "class A: pass\na = A(); a.x = 1; d = vars(a); b = A(); b.own = b.__dict__; c = [A()]; e = {'k': vars(c[0])}", "d['y'] = 2\nassert a.y == 2 and vars(a) is d and b.own is vars(b) and e['k'] is vars(c[0])")
case("getattr that delegates", "class A:\n    def __init__(self): self._x = [1]\n    def __getattr__(self, n): return getattr(self._x, n)\na = A()", "a.append(2)\nassert a._x == [1, 2]")
case("classes derived from property", "class P(property): pass\nclass S(staticmethod): pass\nclass A:\n    @P\n    def x(self): return 3\n    @S\n    def s(): return 4\na = A()", "assert a.x == 3 and A.s() == 4 and type(vars(A)['x']) is P and type(vars(A)['s']) is S")
case("metaclasses that refuse", "import collections\nclass M(type):\n    @classmethod\n    def __prepare__(m, name, bases, **k): return collections.OrderedDict()\n    def __setattr__(c, n, v): raise RuntimeError('no')\nclass A(metaclass=M):\n    __name__ = 'odd'\n    def f(self): return __class__\na = A()", "assert a.f() is A and A.__name__ in ('odd', 'A') and a.__name__ == 'odd'")
case("callbacks", "import functools\nclass W:\n    n = 0\n    def on(self): self.n += 1\nw = W(); cbs = [w.on, functools.partial(w.on), lambda: w.on()]", "for c in cbs: c()\nassert w.n == 3 and cbs[0].__self__ is w")
case("iterators over the same thing", "it = iter([1, 2, 3, 4]); z = zip(it, it); l = [1, 2]; i = iter(l)", "assert next(z) == (1, 2) and next(it) == 3\nl.append(3)\nassert list(i) == [1, 2, 3]")
case("exceptions that cannot be made again", "class E(Exception):\n    def __reduce__(self): return (E, (1, 2, 3))\n    def __init__(self, a): pass\ne = E(1)", lost={"e": "read back"})
case("numpy dates that share memory", "import numpy as np\na = np.array(['2020-01-01', '2021-01-01'], 'M8[D]'); b = a[::-1]; f = np.zeros((3, 4), order='F'); g = f[1:, 2]; r = f.reshape(-1, order='F')", "a[0] = np.datetime64('1999-01-01')\nassert str(b[1]) == '1999-01-01'\nf[2, 2] = 5\nassert g[1] == 5 and r.sum() == 5", needs=NP)
