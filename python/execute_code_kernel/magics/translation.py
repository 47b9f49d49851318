"""From a cell with magics to a syntax tree of session code and of calls of the `Helper`.

Each magic is replaced by one name on as many lines, so that Python parses the rest and every position stays that of the
session's text; in the tree that name becomes what the magic means. What `%time`, `%timeit` and `%%capture` run is part
of the tree itself, and so has its own lines, scope, `await` and value.
"""

from __future__ import annotations

from ..private import builtins as __builtins__

import ast
import re

from .scanning import GAP, PLACEHOLDER, Magic, scan

HELPER = "\0execute-code magics\0"
"""The constant that stands for the helper in a tree."""

_TIMED = "<timeit>"
_TIMEIT_OPTIONS = rf"(?:-(?:[nrpv][ \t]*\d+|[tcqo]+(?=\s|\\|$)){GAP})*"
_BLOCKS = ("body", "orelse", "finalbody", "handlers", "cases")


class Refused(Exception):
    """There are no magics, or some where none can stand: the cell is what Python said of it."""


class Translation:
    """One cell on its way to a tree."""

    def __init__(self, source: str, name: str, flags: int) -> None:
        self._source = re.sub(r"\r\n?", "\n", source)
        self._lines = self._source.split("\n")
        self._name = name
        self._flags = flags
        self._found = 0

    def tree(self) -> ast.Module:
        """Statements of magics have an attribute `is_magic`. Raises Refused, SyntaxError about the cell's own text,
        ValueError, RecursionError or MemoryError."""
        futures, body = _split_futures(self._cell(self._source, 1))
        return ast.Module(body=futures + body, type_ignores=[])

    def _cell(self, text: str, line: int) -> list:
        """Statements of the cell's rest, which begins with this line and may hold a cell magic."""
        magics: list = []
        for magic in scan(text):
            if magic.kind == "cell":
                self._found += 1
                above = text[: magic.start]
                statements = self._code(above, line, 0, magics) if above.strip() else []
                magic.line = line + above.count("\n")
                return statements + self._put(magic, self._named(magic, text[magic.end + 1 :]))
            magics.append(magic)
        return self._code(text, line, 0, magics)

    def _code(self, text: str, line: int, column: int, magics=None) -> list:
        """Statements of a text that begins in this line and column."""
        magics = list(scan(text)) if magics is None else magics
        self._found += len(magics)
        if self._found == 0:
            raise Refused
        # Behind a form feed there is no indentation.
        parts, end, number = ["\n" * (line - 1), " " * (column - 1), "\f" * bool(column)], 0, line
        for magic in magics:
            before = text[end : magic.start]
            *above, last = before.split("\n")
            number += len(above)
            magic.line, magic.column = number, _width(last) + (column if number == line else 0)
            parts += [before, PLACEHOLDER, "\n" * magic.text.count("\n")]
            end = magic.end
            number += magic.text.count("\n")
        try:
            tree = compile("".join([*parts, text[end:]]), self._name, "exec", self._flags, dont_inherit=True)
        except SyntaxError as error:
            if type(error.lineno) is int and 0 < error.lineno <= len(self._lines):
                error.text = self._lines[error.lineno - 1] + "\n"
            raise
        self._replace(tree, {(magic.line, magic.column): magic for magic in magics})
        return tree.body

    def _replace(self, tree, magics: dict) -> None:
        """Puts what each magic means where its placeholder stands. Raises Refused when one is no statement's value."""
        blocks = [tree.body]
        for block in blocks:
            changed = []
            for statement in block:
                value = getattr(statement, "value", None)
                magic = magics.pop((value.lineno, value.col_offset), None) if type(value) is ast.Name else None
                if magic is None:
                    changed.append(statement)
                    blocks += [part for part in map(vars(statement).get, _BLOCKS) if type(part) is list]
                else:
                    changed += self._put(magic, self._line_magic(magic, statement))
            block[:] = changed
        if magics:
            raise Refused

    def _put(self, magic: Magic, statements: list) -> list:
        """Gives the magic's place to all nodes that have none, and marks such statements."""
        end = max(_width(self._lines[magic.line - 1].rstrip()), magic.column + 1)
        for statement in statements:
            if not hasattr(statement, "lineno"):
                statement.is_magic = True
            for node in ast.walk(statement):
                if "lineno" in node._attributes and not hasattr(node, "lineno"):
                    node.lineno = node.end_lineno = magic.line
                    node.col_offset, node.end_col_offset = magic.column, end
        return statements

    def _line_magic(self, magic: Magic, statement) -> list:
        """What stands for a statement that is a magic, or whose value is one."""
        is_all = type(statement) is ast.Expr
        if magic.kind == "help":
            subject = magic.joined()
            meaning = [_called("help", subject.strip("? \t"), "??" in subject)]
        elif magic.kind == "shell":
            method = "system" if is_all and not magic.text.startswith("!!") else "lines"
            meaning = [_called(method, magic.joined().lstrip("!").strip())]
        else:
            meaning = self._named(magic)
        if is_all:
            return meaning
        statement.value = meaning.pop().value if type(meaning[-1]) is ast.Expr else _call("kept")
        return [*meaning, statement]

    def _named(self, magic: Magic, below: str | None = None) -> list:
        """What `%name` stands for, or `%%name` above a text; the value of a last expression is the magic's."""
        name, arguments = magic.named()
        if below is None:
            if magic.text.startswith("%%"):
                return [_called("refuse", f"`%%{name}` must stand at the start of a line, above what it is for.")]
            if name not in ("time", "timeit"):
                return [_called("magic", "%", name, arguments)]
        elif name not in ("time", "timeit", "capture"):
            return [_called("magic", "%%", name, arguments, re.sub(r"([^\n])\Z", r"\1\n", below))]
        body = self._cell(below, magic.line + magic.text.count("\n") + 1) if below else []
        if name == "capture":
            return _captured(arguments, body)
        head = re.match(rf"%{{1,2}}[ \t]*\w+{GAP}{_TIMEIT_OPTIONS if name == 'timeit' else ''}", magic.text).group()
        argument = self._argument(magic, head)
        return _timed(argument + body) if name == "time" else _timed_often(head, argument, body)

    def _argument(self, magic: Magic, head: str) -> list:
        """The statements that a magic has behind its head."""
        text = magic.text[len(head) :]
        *above, last = head.split("\n")
        column = _width(last) + (0 if above else magic.column)
        return self._code(text, magic.line + len(above), column) if text.strip() else []


def _timed(body: list) -> list:
    """Times a body; the value is that of its last expression, and stands where this does."""
    value = []
    if body and type(body[-1]) is ast.Expr:
        last = body[-1]
        body[-1] = _at(last, _called("keep", last.value))
        value = [_at(last, _called("kept"))]
    return [*_with(_call("timing"), None, body), *value]


def _timed_often(head: str, setup: list, body: list) -> list:
    """Times a body again and again, in a function of its own; the value is what `-o` gives."""
    if not body:
        setup, body = [], setup
    if not body:
        return [_called("refuse", "`%timeit STATEMENT` times a statement, `%%timeit` the cell below it.")]
    loop = ast.For(ast.Name("<turn>", ast.Store()), ast.Name("<turns>", ast.Load()), body, [])
    function = ast.FunctionDef(
        name=_TIMED,
        args=ast.arguments(posonlyargs=[], args=[ast.arg("<turns>")], kwonlyargs=[], kw_defaults=[], defaults=[]),
        body=[*setup, ast.Expr(ast.Yield()), loop],
        # The decorator does the timing; the name is bound to its answer only, and deleted at once.
        decorator_list=[_call("timeit", " ".join(head.split()[1:]))],
        type_params=[],
    )
    return [function, ast.Delete([ast.Name(_TIMED, ast.Del())]), _called("kept")]


def _captured(arguments: str, body: list) -> list:
    names = [part for part in arguments.split() if not part.startswith("-")]
    if len(names) > 1 or not all([name.isidentifier() for name in names]):
        return [_called("refuse", "`%%capture NAME` keeps what the cell writes under one name.")]
    return _with(_call("capture", arguments), ast.Name(names[0], ast.Store()) if names else None, body)


def _with(manager, target, body: list) -> list:
    futures, body = _split_futures(body)
    return [*futures, ast.With([ast.withitem(manager, target)], body or [ast.Pass()])]


def _split_futures(body: list) -> tuple:
    """Future imports, which must stand in front, and everything else."""
    futures = [part for part in body if type(part) is ast.ImportFrom and part.module == "__future__"]
    return futures, [part for part in body if part not in futures]


def _call(method: str, *arguments):
    """A node that calls the helper; arguments are nodes, or values that a constant may have."""
    nodes = [part if isinstance(part, ast.AST) else ast.Constant(part) for part in arguments]
    return ast.Call(ast.Attribute(ast.Constant(HELPER), method, ast.Load()), nodes, [])


def _called(method: str, *arguments) -> ast.Expr:
    return ast.Expr(_call(method, *arguments))


def _at(place, node):
    """The node, its new parts included, in the place of another one."""
    return ast.fix_missing_locations(ast.copy_location(node, place))


def _width(text: str) -> int:
    return len(text.encode())
