"""Code objects by their source.

    ("cell", file name, future flags, path, name, line)      in a cell: compiled again from its text, and walked to
    ("library", module, attributes, path, name, line)        in a library's function, which no name leads to
    ("bytes", magic number, marshalled)                      of no source: for the same version of Python only

A path begins with the index of a compiled part; each further step is the name and the first line of a code object within
the one before, and which one of those it is. Versions of Python order constants differently, and mostly agree in this.
"""

from __future__ import annotations

from ..private import builtins as __builtins__

import warnings
from importlib.util import MAGIC_NUMBER
from marshal import dumps as _dumps
from marshal import loads as _loads
from sys import intern
from types import CodeType, FunctionType, MethodType

import __future__ as _future

from ..cells import Compiler
from ..private import MODULES
from .reasons import Refused

_FUTURES = 0
for _name in _future.all_feature_names:
    _FUTURES |= getattr(_future, _name).compiler_flag

_DEEPEST = 60
_OF_A_MODULE = 20_000


class Codes:
    """Finds what stands for a code object, and the code object again."""

    def __init__(self, sources) -> None:
        self._sources = sources
        self.used: set = set()
        """File names of the cells that references name."""
        self._cells: dict = {}
        """The compiled parts of cells, by file name and flags."""
        self._listed: dict = {}
        """All code in a cell by name and line: paths and code objects."""
        self._modules: dict = {}
        """All code in a module by identity: attributes and path."""

    def reference(self, code: CodeType) -> tuple:
        """Raises Refused for code that cannot be kept."""
        name, flags = code.co_filename, code.co_flags & _FUTURES
        if self._sources.lines(name) is not None:
            for path, one in self._list(name, flags).get((code.co_name, code.co_firstlineno), ()):
                if one == code:
                    self.used.add(name)
                    return ("cell", intern(name), flags, path, intern(code.co_name), code.co_firstlineno)
        try:
            # Of the older format: in the newer ones the bytes depend on who else refers to a constant.
            return ("bytes", MAGIC_NUMBER.hex(), _dumps(code, 2))
        except ValueError:
            raise Refused("its code holds a value that cannot be kept, and its source is not known") from None

    def library_reference(self, code: CodeType, module: str) -> tuple | None:
        """What stands for code that a module's functions hold, or None."""
        if module not in self._modules:
            self._modules[module] = _codes_of_module(module)
        found = self._modules[module].get(id(code))
        return None if found is None else ("library", intern(module), *found, intern(code.co_name), code.co_firstlineno)

    def find(self, reference: tuple) -> CodeType:
        """Raises Refused when it is not there any more, or is another one."""
        kind = reference[0]
        if kind == "bytes":
            if reference[1] != MAGIC_NUMBER.hex():
                raise Refused("its code was compiled by another version of Python, and has no source")
            return _loads(reference[2])
        *_, path, name, line = reference
        if kind == "cell":
            if self._sources.lines(reference[1]) is None:
                raise Refused(f"the source of {reference[1]} is not there")
            code = _walk(self._parts(reference[1], reference[2]), path)
        else:
            code = _walk([_code_at(reference[1], reference[2])], path)
        if code is None or code.co_name != name or (kind == "cell" and code.co_firstlineno != line):
            raise Refused(f"its source in {reference[1]} is another one")
        return code

    def _parts(self, name: str, flags: int) -> list:
        known = self._cells.get((name, flags))
        if known is None:
            text = "".join(self._sources.lines(name))
            compiler = Compiler()
            compiler._flags |= flags
            try:
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore")
                    known = compiler.compile(compiler.parse(text, name), text, name).codes
            except (SyntaxError, ValueError, RecursionError) as error:
                raise Refused(f"the source of {name} cannot be compiled: {type(error).__name__}") from None
            self._cells[name, flags] = known
        return known

    def _list(self, name: str, flags: int) -> dict:
        found = self._listed.get((name, flags))
        if found is None:
            found = self._listed[name, flags] = {}
            try:
                parts = self._parts(name, flags)
            except Refused:
                parts = []
            for path, code in _nested(parts, ()):
                found.setdefault((code.co_name, code.co_firstlineno), []).append((path, code))
        return found


def _nested(codes, path: tuple):
    """All code objects in these and in their constants, with their paths."""
    for index, code in enumerate(codes):
        yield (*path, index), code
        yield from _inside(code, (*path, index))


def _inside(code: CodeType, path: tuple):
    if len(path) > _DEEPEST:
        return
    for step, one in _steps(code):
        yield (*path, step), one
        yield from _inside(one, (*path, step))


def _steps(code: CodeType):
    counts: dict = {}
    for one in code.co_consts:
        if type(one) is CodeType:
            key = (intern(one.co_name), one.co_firstlineno)
            counts[key] = counts.get(key, -1) + 1
            yield (*key, counts[key]), one


def _walk(codes, path: tuple) -> CodeType | None:
    first, *steps = path
    found = codes[first] if first < len(codes) else None
    for step in steps:
        found = None if found is None else dict(_steps(found)).get(tuple(step))
    return found


def _plain_function(value) -> FunctionType | None:
    """The function that an attribute of a module or a class holds, without its wrapping as a method."""
    if type(value) in (staticmethod, classmethod, MethodType):
        value = value.__func__
    elif type(value) is property:
        value = value.fget
    return value if type(value) is FunctionType else None


def _codes_of_module(name: str) -> dict:
    found: dict = {}
    module = MODULES.get(name)
    members = [((key,), value) for key, value in list(vars(module).items())] if module is not None else []
    for key, value in list(members):
        if issubclass(type(value), type) and type.__dict__["__module__"].__get__(value) == name:
            inside = list(type.__dict__["__dict__"].__get__(value).items())
            members += [((*key, other), member) for other, member in inside if type(other) is str]
    for attributes, value in members:
        function = _plain_function(value)
        if function is None or function.__module__ != name:
            continue
        for path, code in _nested([function.__code__], ()):
            found.setdefault(id(code), (attributes, path))
        if len(found) > _OF_A_MODULE:
            break
    return found


def _code_at(module: str, attributes: tuple) -> CodeType | None:
    try:
        value = vars(__import__(module, fromlist=["*"]))[attributes[0]]
        for name in attributes[1:]:
            value = type.__dict__["__dict__"].__get__(value)[name]
    except (ImportError, KeyError, TypeError):
        raise Refused(f"{module} has no {'.'.join(attributes)} here") from None
    function = _plain_function(value)
    return None if function is None else function.__code__
