"""From a cell with magics to a syntax tree of session code and of calls of the `Helper`.

Each magic is replaced by one name on as many lines, so that Python parses the rest and every position stays that of the
session's text; in the tree that name becomes what the magic means. What `%time`, `%timeit` and `%%capture` run is part
of the tree itself, and so has its own lines, scope, `await` and value.
"""

from __future__ import annotations

from ..private import builtins as __builtins__

import ast
import re

from .scanning import END, GAP, PLACEHOLDER, Magic, scan

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
        self._source = source
        self._lines = re.split(END, source)
        self._name = name
        self._flags = flags
        self._found = 0

    def tree(self) -> ast.Module:
        """Raises Refused, SyntaxError about the cell's own text, ValueError, RecursionError or MemoryError."""
        return ast.Module(body=self._cell(self._source, 1), type_ignores=[])

    def _cell(self, text: str, line: int) -> list:
        """Statements of the cell's rest, which begins with this line and may hold a cell magic."""
        magics: list = []
        for magic in scan(text):
            if magic.kind == "cell":
                self._found += 1
                above = text[: magic.start]
                statements = self._code(above, line, 0, magics) if above.strip() else []
                magic.line = line + _line_ends(above)
                return statements + self._cell_magic(magic, text[magic.end :])
            magics.append(magic)
        return self._code(text, line, 0, magics)

    def _code(self, text: str, line: int, column: int, magics=None) -> list:
        """Statements of a text that begins in this line, behind so many characters of it."""
        magics = list(scan(text)) if magics is None else magics
        self._found += len(magics)
        if self._found == 0:
            raise Refused
        parts, end, number = [], 0, line
        for magic in magics:
            before = text[end : magic.start]
            *above, last = re.split(END, before)
            number += len(above)
            magic.line, magic.column = number, len(last) + (column if number == line else 0)
            parts += [before, PLACEHOLDER, "\n" * _line_ends(magic.text)]
            end = magic.end
            number += _line_ends(magic.text)
        tree = self._parse("".join([*parts, text[end:]]), line, column)
        self._replace(tree, {(magic.line, self._bytes(magic.line, magic.column)): magic for magic in magics})
        return _futures_first(tree.body)

    def _parse(self, text: str, line: int, column: int) -> ast.Module:
        try:
            tree = compile("\n" * (line - 1) + text, self._name, "exec", self._flags, dont_inherit=True)
        except SyntaxError as error:
            # The parser saw a translation; the error is about the cell's own text.
            if type(error.lineno) is int and 0 < error.lineno <= len(self._lines):
                error.text = self._lines[error.lineno - 1] + "\n"
            if error.lineno == line and error.offset:
                error.offset += column
            if getattr(error, "end_lineno", None) == line and error.end_offset:
                error.end_offset += column
            raise
        if column:
            _shift(tree, line, self._bytes(line, column))
        return tree

    def _bytes(self, line: int, characters: int) -> int:
        """A column as trees count them."""
        return len(self._lines[line - 1][:characters].encode("utf-8", "surrogatepass"))

    def _put(self, magic: Magic, nodes: list) -> list:
        """Gives the magic's place to all nodes that have none, and marks such statements as those of a magic."""
        column = self._bytes(magic.line, magic.column)
        end = max(self._bytes(magic.line, len(self._lines[magic.line - 1].rstrip())), column + 1)
        for statement in nodes:
            if not hasattr(statement, "lineno"):
                statement.is_magic = True
            for node in ast.walk(statement):
                if "lineno" in node._attributes and not hasattr(node, "lineno"):
                    node.lineno = node.end_lineno = magic.line
                    node.col_offset, node.end_col_offset = column, end
        return nodes

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

    def _line_magic(self, magic: Magic, statement) -> list:
        """What stands for a statement whose value, or all of it, is a line magic."""
        is_all = type(statement) is ast.Expr
        meaning = self._meaning(magic, is_all)
        if is_all:
            return meaning
        statement.value = meaning.pop().value if type(meaning[-1]) is ast.Expr else _call("kept")
        return [*meaning, statement]

    def _meaning(self, magic: Magic, is_all: bool) -> list:
        """Statements; the value of a last expression among them is the magic's."""
        if magic.kind == "help":
            subject = magic.joined()
            return [_called("help", subject.strip("? \t"), "??" in subject)]
        if magic.kind == "shell":
            method = "system" if is_all and not magic.text.startswith("!!") else "lines"
            return [_called(method, magic.joined().lstrip("!").strip())]
        name, arguments = magic.named()
        if magic.text.startswith("%%"):
            return [_called("refuse", f"`%%{name}` must stand at the start of a line, and what it is for below it.")]
        if name == "time":
            return _timed(self._argument(magic, _head(magic)))
        if name == "timeit":
            return self._timeit(magic, [])
        return [_called("line", name, arguments)]

    def _cell_magic(self, magic: Magic, text: str) -> list:
        """What stands for a cell magic and the text below its line."""
        name, arguments = magic.named()
        line = magic.line + _line_ends(magic.text) + 1
        text = re.sub(rf"\A{END}", "", text)
        if name == "time":
            statements = _timed(self._argument(magic, _head(magic)) + self._cell(text, line))
        elif name == "timeit":
            statements = self._timeit(magic, self._cell(text, line))
        elif name == "capture":
            statements = _captured(arguments, self._cell(text, line))
        else:
            statements = [_called("cell", name, arguments, text)]
        return self._put(magic, statements)

    def _argument(self, magic: Magic, head: str) -> list:
        """The statements that a magic has behind its head."""
        text = magic.text[len(head) :]
        if not text.strip():
            return []
        *above, last = re.split(END, head)
        return self._code(text, magic.line + len(above), len(last) + (0 if above else magic.column))

    def _timeit(self, magic: Magic, body: list) -> list:
        """Times a body again and again, in a function of its own; the value is what `-o` gives."""
        head = _head(magic, _TIMEIT_OPTIONS)
        setup = self._argument(magic, head)
        if not body:
            setup, body = [], setup
        if not body:
            return [_called("refuse", "`%timeit STATEMENT` times a statement, `%%timeit` the cell below it.")]
        function = ast.FunctionDef(
            name=_TIMED,
            args=ast.arguments(posonlyargs=[], args=[ast.arg("<turns>")], kwonlyargs=[], kw_defaults=[], defaults=[]),
            body=[*setup, ast.For(ast.Name("<turn>", ast.Store()), ast.Name("<turns>", ast.Load()), body, [])],
            # The decorator does the timing; the name is bound to its answer only, and deleted at once.
            decorator_list=[_call("timeit", " ".join(head.split()[1:]))],
            type_params=[],
        )
        return [function, ast.Delete([ast.Name(_TIMED, ast.Del())]), _called("kept")]


def _timed(body: list) -> list:
    """Times a body; the value is that of its last expression, and stands where this does."""
    value = []
    if body and type(body[-1]) is ast.Expr:
        last = body[-1]
        body[-1] = _at(last, _called("keep", last.value))
        value = [_at(last, _called("kept"))]
    return [*_with(_call("timing"), None, body), *value]


def _captured(arguments: str, body: list) -> list:
    names = [part for part in arguments.split() if not part.startswith("-")]
    if len(names) > 1 or not all([name.isidentifier() for name in names]):
        return [_called("refuse", "`%%capture NAME` keeps what the cell writes under one name.")]
    return _with(_call("capture", arguments), ast.Name(names[0], ast.Store()) if names else None, body)


def _with(manager, target, body: list) -> list:
    futures, body = _split_futures(body)
    return [*futures, ast.With([ast.withitem(manager, target)], body or [ast.Pass()])]


def _head(magic: Magic, options: str = "") -> str:
    """The magic's name, and options, with the space behind them."""
    return re.match(rf"%{{1,2}}[ \t]*\w+{GAP}{options}", magic.text).group()


def _line_ends(text: str) -> int:
    return len(re.findall(END, text))


def _call(method: str, *arguments):
    """A node that calls the helper; arguments are nodes, or values that a constant may have."""
    nodes = [part if isinstance(part, ast.AST) else ast.Constant(part) for part in arguments]
    return ast.Call(ast.Attribute(ast.Constant(HELPER), method, ast.Load()), nodes, [])


def _called(method: str, *arguments) -> ast.Expr:
    return ast.Expr(_call(method, *arguments))


def _at(place, node):
    """The node, its new parts included, in the place of another one."""
    return ast.fix_missing_locations(ast.copy_location(node, place))


def _split_futures(body: list) -> tuple:
    """Future imports, which must stay in front, and what follows them."""
    count = 0
    while count < len(body) and type(body[count]) is ast.ImportFrom and body[count].module == "__future__":
        count += 1
    return body[:count], body[count:]


def _futures_first(body: list) -> list:
    """Future imports that follow nothing but magics, put in front of them."""
    count = 0
    while count < len(body) and hasattr(body[count], "is_magic"):
        count += 1
    futures, rest = _split_futures(body[count:])
    return [*futures, *body[:count], *rest]


def _shift(tree, line: int, column: int) -> None:
    """Moves what stands in the tree's first line to the right."""
    for node in ast.walk(tree):
        if getattr(node, "lineno", None) == line:
            node.col_offset += column
        if getattr(node, "end_lineno", None) == line:
            node.end_col_offset += column
