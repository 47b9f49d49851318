"""Lets the processes that multiprocessing spawns (`spawn`, `forkserver`) find what cells define.

A spawned process runs the main module's file again to have its functions and classes. A session has no such file:
one is written when a process is about to be spawned, into a private temporary folder. It holds the imports, the
functions, the classes and the assignments of literals of all remembered cells, in order. A statement that fails
there is skipped, and so is one with magics; what it would have defined is missing in the spawned process.
"""

from __future__ import annotations

from .private import builtins as __builtins__

import ast

from .cells import parse
from .imports import ImportHooks
from .sources import Sources

_MODULE = "multiprocessing.spawn"
_DEFINITIONS = (ast.Import, ast.ImportFrom, ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
_PREAMBLE = '''"""What the session's cells define, for a process that multiprocessing spawned."""
import linecache as _linecache

def _define(flags, statements):
    for name, line, source in statements:
        try:
            exec(compile("\\n" * (line - 1) + source, name, "exec", flags, dont_inherit=True), globals())
        except Exception:
            pass

'''


def install(hooks: ImportHooks, sources: Sources) -> None:
    """Waits for session code to import multiprocessing's spawning."""
    hooks.after(_MODULE, lambda module: _change(module, _MainFile(sources)))


def _change(module, main_file: _MainFile) -> None:
    prepare = module.get_preparation_data

    def get_preparation_data(name):
        data = prepare(name)
        if "init_main_from_path" not in data and "init_main_from_name" not in data:
            data["init_main_from_path"] = main_file.write()
        return data

    module.get_preparation_data = get_preparation_data


class _MainFile:
    """The file that stands for the session's main module."""

    def __init__(self, sources: Sources) -> None:
        self._sources = sources
        self._folder = None

    def write(self) -> str:
        """Writes the file as of now; returns its path."""
        import os
        import tempfile

        if self._folder is None:
            # Removed when the session ends.
            self._folder = tempfile.TemporaryDirectory(prefix="session-")
        path = os.path.join(self._folder.name, "session_main.py")
        descriptor, temporary = tempfile.mkstemp(dir=self._folder.name)
        with open(descriptor, "w", encoding="utf-8", errors="surrogatepass") as file:
            file.write(self._text())
        os.replace(temporary, path)
        return path

    def _text(self) -> str:
        cells = []
        flags = 0
        for name, lines in reversed(list(self._sources.newest_first())):
            statements = []
            for node in _statements(_body(lines)):
                if not isinstance(node, _DEFINITIONS) and not _assigns_literal(node):
                    continue
                if isinstance(node, ast.ImportFrom) and node.module == "__future__":
                    flags |= _future_flags(node)
                    continue
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
        return _PREAMBLE + "".join(cells)


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


def _assigns_literal(node) -> bool:
    if not isinstance(node, (ast.Assign, ast.AnnAssign)) or node.value is None:
        return False
    try:
        ast.literal_eval(node.value)
    except (ValueError, TypeError, SyntaxError, MemoryError, RecursionError):
        return False
    return True


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
