"""Lets the processes that multiprocessing spawns (`spawn`, `forkserver`) find what cells define.

A spawned process runs the main module's file again to have its functions and classes. A session has no such file:
one is written when a process is about to be spawned, into a private temporary folder. It holds, in order, the imports,
the functions, the classes and those assignments of all remembered cells that do nothing else: of literals, lambdas and
what makes types, as `namedtuple`. Nothing that cells call besides is called again. The other variables that these
definitions name go with the file as they are now, each pickled by itself, as long as it can be and is no larger than
16 MiB. A statement that fails there is skipped, and so is one with magics; what it would have defined is missing.
"""

from __future__ import annotations

from .private import builtins as __builtins__

import ast
import sys
from types import FunctionType, ModuleType

from .cells import parse
from .imports import ImportHooks
from .private import MODULES
from .sources import Sources

_MODULE = "multiprocessing.spawn"
_DEFINITIONS = (ast.Import, ast.ImportFrom, ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
_VALUE_BYTES = 16 * 1024 * 1024
_VALUES_BYTES = 64 * 1024 * 1024
_MAKERS = {
    "builtins": ("type",),
    "collections": ("namedtuple",),
    "dataclasses": ("make_dataclass",),
    "enum": ("Enum", "IntEnum", "Flag", "IntFlag", "StrEnum"),
    "typing": ("NamedTuple", "NewType", "ParamSpec", "TypeVar", "TypeVarTuple", "TypedDict"),
}
"""What makes types and does nothing else."""
_PREAMBLE = '''"""What the session's cells define, for a process that multiprocessing spawned."""
import builtins as _builtins, io as _io, linecache as _linecache, pickle as _pickle, sys as _sys, types as _types

class _Unpickler(_pickle.Unpickler):
    def find_class(self, module, name):
        if module not in ("__main__", "__mp_main__"):
            return super().find_class(module, name)
        first, *rest = name.split(".")
        found = globals()[first]
        for part in rest:
            found = getattr(found, part)
        return found

def _load(values):
    for name in list(values):
        try:
            _loaded[name] = _Unpickler(_io.BytesIO(values[name])).load()
        except Exception:
            continue
        del values[name]
    globals().update(_loaded)

def _define(flags, statements):
    for name, line, source in statements:
        try:
            exec(compile("\\n" * (line - 1) + source, name, "exec", flags, dont_inherit=True), globals())
        except Exception:
            pass

def _platform():
    def display(*objects, **_):
        for value in objects:
            print(repr(value), flush=True)
    def cannot(*_, **__):
        raise RuntimeError("a process that the session spawned cannot ask the platform")
    module = _types.ModuleType("execute_code", "The platform, for the code that runs on it.")
    module.display = module.update_display = display
    module.progress = module.clear_output = lambda *_, **__: None
    module.__getattr__ = lambda name: cannot
    _sys.modules["execute_code"] = _builtins.ec = module
    _builtins.display = display

_platform()
'''
_LOAD = """_loaded = {}
with open(__file__ + ".values", "rb") as _file:
    _values = _pickle.load(_file)
_load(_values)
"""


def install(hooks: ImportHooks, sources: Sources, namespace: dict) -> None:
    """Waits for session code to import multiprocessing's spawning."""
    hooks.after(_MODULE, lambda module: _change(module, _MainFile(sources, namespace)))


def _change(module, main_file: _MainFile) -> None:
    prepare = module.get_preparation_data

    def get_preparation_data(name):
        data = prepare(name)
        if "init_main_from_path" not in data and "init_main_from_name" not in data:
            data["init_main_from_path"] = main_file.write()
            data["sys_path"] = main_file.search_path()
        return data

    module.get_preparation_data = get_preparation_data


class _MainFile:
    """The file that stands for the session's main module."""

    def __init__(self, sources: Sources, namespace: dict) -> None:
        self._sources = sources
        self._namespace = namespace
        self._folder = None
        self._written = None
        self._number = 0

    def write(self) -> str:
        """Writes the file as of now; returns its path, which is another one when the file has changed: a fork server
        knows by it that there is something new."""
        import os
        import pickle
        import tempfile

        if self._folder is None:
            # Removed when the session ends.
            self._folder = tempfile.TemporaryDirectory(prefix="session-")
        text, values = self._content()
        path = os.path.join(self._folder.name, f"session_main_{self._number}.py")
        if (text, values) != self._written:
            self._written = (text, values)
            self._number += 1
            path = os.path.join(self._folder.name, f"session_main_{self._number}.py")
            with open(f"{path}.values", "wb") as file:
                pickle.dump(values, file)
            with open(path, "w", encoding="utf-8", errors="surrogatepass") as file:
                file.write(text)
        return path

    def search_path(self) -> list[str]:
        """`sys.path` with the current folder by its name, and the folders that the cells' imports came from."""
        from os import getcwd
        from os.path import dirname

        path = [entry or getcwd() for entry in sys.path]
        for name in sorted(self._imported()):
            file = getattr(MODULES.get(name), "__file__", None)
            if type(file) is str:
                folder = dirname(dirname(file) if hasattr(MODULES[name], "__path__") else file)
                if folder not in path:
                    path.append(folder)
        return path

    def _imported(self) -> set:
        """The top-level modules that cells import by statements of their own."""
        names: set[str] = set()
        for _, lines in self._sources.newest_first():
            for node in _statements(_body(lines)):
                if isinstance(node, ast.Import):
                    names.update([alias.name.partition(".")[0] for alias in node.names])
                elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
                    names.add(node.module.partition(".")[0])
        return names

    def _content(self) -> tuple:
        """The file's text, and pickled values by name."""
        cells = []
        flags = 0
        mentioned: set[str] = set()
        for name, lines in reversed(list(self._sources.newest_first())):
            statements = []
            for node in _statements(_body(lines)):
                if not isinstance(node, _DEFINITIONS) and not self._only_assigns(node):
                    continue
                if isinstance(node, ast.ImportFrom) and node.module == "__future__":
                    flags |= _future_flags(node)
                    continue
                mentioned.update([part.id for part in ast.walk(node) if isinstance(part, ast.Name)])
                first = min([node.lineno, *[part.lineno for part in getattr(node, "decorator_list", [])]])
                text = "".join(lines[first - 1 : node.end_lineno])
                # Other statements may share the lines; a definition of its own lines keeps its numbering.
                source = text if node.col_offset == 0 and _stands_alone(text, node) else ast.unparse(node)
                statements.append((name, first, source))
            if statements:
                listing = ",\n".join([f"    {statement!a}" for statement in statements])
                cells.append(
                    f"_linecache.cache[{name!a}] = ({sum(map(len, lines))}, None, {lines!a}, {name!a})\n"
                    f"_define({flags}, [\n{listing},\n])\n"
                )
        values = self._values(mentioned)
        # What needs none of the definitions, the definitions, what needs them.
        return "".join([_PREAMBLE, _LOAD, *cells, "_load(_values)\n"]), values

    def _values(self, names: set) -> dict:
        import pickle

        found: dict[str, bytes] = {}
        left = _VALUES_BYTES
        for name in sorted(names):
            value = self._namespace.get(name)
            if value is None or issubclass(type(value), (ModuleType, FunctionType)):
                continue
            file = _Bounded(min(left, _VALUE_BYTES))
            try:
                pickle.Pickler(file, pickle.HIGHEST_PROTOCOL).dump(value)
            except Exception:
                continue  # It is missing there.
            found[name] = b"".join(file.pieces)
            left -= len(found[name])
        return found

    def _only_assigns(self, node) -> bool:
        """Whether a statement can be run again without any effect but its assignment."""
        if not isinstance(node, (ast.Assign, ast.AnnAssign)) or node.value is None:
            return False
        value = node.value
        if isinstance(value, ast.Lambda):
            return not value.args.defaults and not any(value.args.kw_defaults)
        if isinstance(value, ast.Call):
            arguments = [*value.args, *[keyword.value for keyword in value.keywords]]
            return self._makes_types(value.func) and all([_is_plain(argument) for argument in arguments])
        return _is_literal(value)

    def _makes_types(self, node) -> bool:
        found = self._referred(node)
        return any(
            [
                found is vars(MODULES[module]).get(name)
                for module, names in _MAKERS.items()
                if found is not None and module in MODULES
                for name in names
            ]
        )

    def _referred(self, node):
        """What a name, or a name in a module, stands for now, or None."""
        if isinstance(node, ast.Name):
            return self._namespace.get(node.id, vars(MODULES["builtins"]).get(node.id))
        if isinstance(node, ast.Attribute):
            module = self._referred(node.value)
            return vars(module).get(node.attr) if type(module) is ModuleType else None
        return None


class _Bounded:
    """A file that takes so many bytes. Raises ValueError beyond."""

    def __init__(self, left: int) -> None:
        self.pieces: list[bytes] = []
        self._left = left

    def write(self, data) -> None:
        self._left -= len(data)
        if self._left < 0:
            raise ValueError("too large")
        self.pieces.append(bytes(data))


def _body(lines: list[str]) -> list:
    try:
        return parse("".join(lines), "<cell>").body
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return []


def _statements(body: list):
    """Those of a cell itself; magics such as `%%time` have theirs inside."""
    for node in body:
        if not hasattr(node, "is_magic"):
            yield node
        elif isinstance(node, ast.With):
            yield from _statements(node.body)


def _is_literal(node) -> bool:
    try:
        ast.literal_eval(node)
    except (ValueError, TypeError, SyntaxError, MemoryError, RecursionError):
        return False
    return True


def _is_plain(node) -> bool:
    """Whether evaluating an expression calls nothing: literals, names, and collections of them."""
    kinds = (ast.Constant, ast.Name, ast.Attribute, ast.List, ast.Tuple, ast.Dict, ast.expr_context)
    return all([isinstance(part, kinds) for part in ast.walk(node)])


def _stands_alone(text: str, node) -> bool:
    body = _body(text.splitlines(True))
    return len(body) == 1 and type(body[0]) is type(node)


def _future_flags(node) -> int:
    import __future__

    flags = 0
    for alias in node.names:
        feature = getattr(__future__, alias.name, None)
        flags |= getattr(feature, "compiler_flag", 0)
    return flags
