"""Magics of IPython in cells that Python refuses: `%name`, `!command`, `name?`, `target = !command`, `%%name`.

Loaded when a cell is no Python, and never before. A scan finds the logical lines that begin with a magic; each is
replaced by one name on as many lines, so that positions stay those of the session's text, and in the parsed tree that
name becomes a call of the session's `Helper`. The helper has no name that session code could see or delete: trees
carry a constant for it, and `bind` puts it into the compiled code. What `%time`, `%timeit` and `%%capture` run is part
of the tree itself, and so has its own lines, scope, `await` and value.

A magic of IPython that cannot work here raises UsageError at its line, with what to write instead.
"""

from __future__ import annotations

from .private import builtins as __builtins__

import ast
import builtins as _live_builtins
import os
import re
import select
import sys
from _signal import SIG_BLOCK, SIG_SETMASK, SIGINT, SIGKILL, SIGPIPE, SIGXFSZ, pthread_sigmask
from time import monotonic as _monotonic
from time import perf_counter as _perf_counter
from time import sleep as _sleep
from types import CodeType

from .previews import preview, type_name
from .processes import ProcessTable, send_signal

_HELPER = "\0execute-code magics\0"
"""The constant that stands for the helper in a syntax tree."""

_PLACEHOLDER = "_"
_TIMED = "<timeit>"
_KILL_SECONDS = 0.5
_LOOK_MILLISECONDS = 50
_READ_BYTES = 1024 * 1024
_DOC_CHARS = 4_000
_SOURCE_CHARS = 20_000


class UsageError(Exception):
    """A magic that has no meaning here, or not with these arguments; the message says what to write instead."""


UsageError.__module__ = "builtins"  # Tracebacks name it without the kernel's package.


class _Refused(Exception):
    """There are no magics, or some where none can stand: the cell is what Python said of it."""


class Magics:
    """The magics of one session."""

    def __init__(self) -> None:
        self._helper = Helper()

    def parse(self, source: str, name: str, flags: int):
        """The tree of a cell that has magics; None when it has none. Raises SyntaxError about the cell's own text, or
        ValueError, RecursionError, MemoryError."""
        if _POSSIBLE.search(source) is None:
            return None
        translation = _Translation(source, name, flags)
        try:
            body = translation.cell(source, 1)
        except _Refused:
            return None
        tree = ast.Module(body=body, type_ignores=[])
        tree.bind = self.bind
        return tree

    def bind(self, code: CodeType) -> CodeType:
        """The code with the helper in its place."""
        constants = tuple([self._bound(constant) for constant in code.co_consts])
        return code.replace(co_consts=constants)

    def _bound(self, constant):
        if type(constant) is CodeType:
            return self.bind(constant)
        return self._helper if type(constant) is str and constant == _HELPER else constant


# ── finding ─────────────────────────────────────────────────────────────────────────────────────────────────────

_END = r"(?:\r\n|\r|\n)"
_GAP = rf"(?:[ \t\f]|\\{_END})*"
_BARE = (
    r"(?:pip3?|conda|mamba)[ \t]+"
    r"(?:install|uninstall|list|show|freeze|download|check|config|cache|update|upgrade|create|remove|search)\b"
    r"(?![ \t]*[=.(])"
)
_POSSIBLE = re.compile(
    rf"(?m)^[ \t\f]*(?:[%!?]|{_BARE})|\r[ \t\f]*[%!?]|\?[ \t\f]*(?:\#.*)?\r?$|[=:;]{_GAP}(?:!|%[A-Za-z_])"
)
_START = re.compile(
    r"[ \t\f]*(?:(?P<cell>%%(?=[A-Za-z_!]))|(?P<line>%(?=[ \t]*[A-Za-z_]))|(?P<shell>!!?(?=[ \t]*[^\s!=]))"
    rf"|(?P<help>\?\??(?=[ \t]*[%\w]))|(?P<bare>(?={_BARE})))"
)
_TOKEN = re.compile(
    rf"""
    (?P<string>(?:[rRbBuUfFtT]{{1,2}})?(?:'''|\"\"\"|'|\"))
    |(?P<newline>{_END})
    |(?P<open>[(\[{{])
    |(?P<close>[)\]}}])
    |(?P<space>\#[^\r\n]*|[ \t\f]+|\\{_END})
    |(?P<mark>\?)
    |\w+
    |[-+*/%&|^@=<>!:]=
    |(?P<before>[=:;](?={_GAP}(?:!!?[ \t]*[^\s!=]|%[A-Za-z_])))
    |(?s:.)
    """,
    re.VERBOSE,
)
_SPACE = re.compile(_GAP)
_LOGICAL = re.compile(rf"(?:[^\r\n\\]|\\{_END}?)*")
_SUBJECT = r"%{0,2}(?!\d)[\w*]+(?:\.(?!\d)[\w*]+|\[[^\[\]\r\n]*\])*"
_ASKED = re.compile(r"%{1,2}\w+\?{1,2}[ \t]*")
_HELP = re.compile(rf"[ \t\f]*(?P<help>{_SUBJECT}[ \t]*\?\??)$")

_STRING_REST = {
    "'": re.compile(r"(?:[^'\\\r\n]|\\(?:\r\n|.))*'?", re.DOTALL),
    '"': re.compile(r'(?:[^"\\\r\n]|\\(?:\r\n|.))*"?', re.DOTALL),
    "'''": re.compile(r"(?:[^'\\]|\\.|'(?!''))*(?:''')?", re.DOTALL),
    '"""': re.compile(r'(?:[^"\\]|\\.|"(?!""))*(?:""")?', re.DOTALL),
}
_FORMAT_TEXT = {
    "'": re.compile(r"(?:[^'\\\r\n{}]|\\N\{[^}]*\}|\\(?:\r\n|[^{}]|(?=[{}]))|\{\{|\}\})*", re.DOTALL),
    '"': re.compile(r'(?:[^"\\\r\n{}]|\\N\{[^}]*\}|\\(?:\r\n|[^{}]|(?=[{}]))|\{\{|\}\})*', re.DOTALL),
    "'''": re.compile(r"(?:[^'\\{}]|\\N\{[^}]*\}|\\(?:[^{}]|(?=[{}]))|'(?!'')|\{\{|\}\})*", re.DOTALL),
    '"""': re.compile(r'(?:[^"\\{}]|\\N\{[^}]*\}|\\(?:[^{}]|(?=[{}]))|"(?!"")|\{\{|\}\})*', re.DOTALL),
}
_FORMATS_NEST = sys.version_info >= (3, 12)
"""From then on an f-string may hold its own quotes, and newlines, inside braces."""


class _Magic:
    """A magic's place in a text, and its kind: cell, line, shell, help (`?name`), asked (`name?`) or bare (`pip …`)."""

    def __init__(self, kind: str, start: int, text: str) -> None:
        self.kind = kind
        self.start = start
        self.text = text

    def joined(self) -> str:
        """Its text as one line."""
        return " ".join([part.strip() for part in re.split(rf"\\{_END}", self.text)])


def _scan(text: str):
    """The magics of a text in order. What follows a cell magic is found as if it were Python."""
    position = depth = begin = 0
    starts, marked = True, None
    while position < len(text):
        if starts:
            magic = _at_start(text, position)
            if magic is not None:
                yield magic
                position = magic.start + len(magic.text)
            starts, begin, marked = False, position, None
            if position >= len(text):
                return
        token = _TOKEN.match(text, position)
        kind, position = token.lastgroup, token.end()
        if kind == "newline":
            if depth == 0:
                if marked is not None:
                    yield from _asked(text, begin, marked)
                starts = True
        elif kind == "mark":
            marked = position
        elif kind != "space":
            marked = None
            if kind == "string":
                position = _after_string(text, token)
            elif kind == "open":
                depth += 1
            elif kind == "close":
                depth = max(depth - 1, 0)
            elif kind == "before" and depth == 0:
                position = _SPACE.match(text, position).end()
                magic = _whole(text, "shell" if text[position] == "!" else "line", position)
                yield magic
                position += len(magic.text)
    if marked is not None and depth == 0:
        yield from _asked(text, begin, marked)


def _at_start(text: str, position: int):
    """The magic that a logical line begins with, or None."""
    match = _START.match(text, position)
    if match is None:
        return None
    kind = match.lastgroup
    magic = _whole(text, kind, match.start(kind))
    if kind == "line" and magic.text[1] in " \t":
        # `% name` is taken for a magic only when there is one of that name: it may be a lost operator.
        name = _name(magic.joined())[0]
        return magic if name in (*Helper.LINE, *_NO_EFFECT, *_INSTEAD, *_IN_TREE) else None
    return magic


def _whole(text: str, kind: str, start: int) -> _Magic:
    return _Magic(kind, start, _LOGICAL.match(text, start).group())


def _asked(text: str, begin: int, end: int):
    match = _HELP.match(text[begin:end])
    if match is not None:
        yield _Magic("asked", begin + match.start("help"), match.group("help"))


def _after_string(text: str, token) -> int:
    opening = token.group("string")
    quote = opening.lstrip("rRbBuUfFtT")
    prefix = opening[: -len(quote)].lower()
    if _FORMATS_NEST and ("f" in prefix or "t" in prefix):
        return _after_format(text, token.end(), quote)
    return _STRING_REST[quote].match(text, token.end()).end()


def _after_format(text: str, position: int, quote: str, in_field: bool = False) -> int:
    """Behind an f-string, or with `in_field` behind the `}` that ends a format specification in one."""
    while True:
        position = _FORMAT_TEXT[quote].match(text, position).end()
        if in_field and text.startswith("}", position):
            return position + 1
        if text.startswith(quote, position):
            return position if in_field else position + len(quote)
        if position >= len(text) or text[position] in "\r\n":
            return position
        position = _after_field(text, position + 1, quote) if text[position] == "{" else position + 1


def _after_field(text: str, position: int, quote: str) -> int:
    depth = 1
    while position < len(text):
        token = _TOKEN.match(text, position)
        kind, position = token.lastgroup, token.end()
        if kind == "string":
            position = _after_string(text, token)
        elif kind == "open":
            depth += 1
        elif kind == "close":
            depth -= 1
            if depth == 0:
                return position
        elif depth == 1 and token.group() == ":":
            return _after_format(text, position, quote, in_field=True)
    return position


def _name(text: str) -> tuple:
    """Name and arguments of `%name arguments`."""
    match = re.match(r"%{0,2}[ \t]*(\w+|!)(.*)", text, re.DOTALL)
    return match.group(1), match.group(2).strip()


# ── translating ─────────────────────────────────────────────────────────────────────────────────────────────────


class _Place:
    """Where in the cell nodes stand; columns count bytes, as those of trees do."""

    def __init__(self, line: int, column: int, end_column: int) -> None:
        self.line = line
        self.column = column
        self.end_column = end_column

    def put(self, *nodes) -> None:
        """Gives it to all nodes that have none yet."""
        for root in nodes:
            for node in ast.walk(root):
                if "lineno" in node._attributes and not hasattr(node, "lineno"):
                    node.lineno = node.end_lineno = self.line
                    node.col_offset, node.end_col_offset = self.column, self.end_column


class _Translation:
    """One cell on its way to a tree. `found` counts its magics."""

    def __init__(self, source: str, name: str, flags: int) -> None:
        self._lines = re.split(_END, source)
        self._name = name
        self._flags = flags
        self.found = 0

    def cell(self, text: str, line: int) -> list:
        """Statements of the cell's rest from `line` on, which may hold a cell magic."""
        magics = []
        for magic in _scan(text):
            if magic.kind == "cell" and text[magic.start - 1 : magic.start] in ("", "\r", "\n"):
                self.found += 1
                above = self.code(text[: magic.start], line, 0, magics) if text[: magic.start].strip() else []
                return above + self._cell_magic(magic, text, line + _line_ends(text[: magic.start]))
            magics.append(magic)
        return self.code(text, line, 0, magics)

    def code(self, text: str, line: int, column: int, magics=None) -> list:
        """Statements of a text that begins in this line, behind so many characters of it."""
        if magics is None:
            magics = list(_scan(text))
        self.found += len(magics)
        if self.found == 0:
            raise _Refused
        places = {}
        parts, position, number, counted = [], 0, line, 0
        for magic in magics:
            number += _line_ends(text[counted : magic.start])
            counted = magic.start
            begin = text.rfind("\n", 0, magic.start) + 1
            begin = max(begin, text.rfind("\r", begin, magic.start) + 1)
            places[number] = (magic, magic.start - begin + (column if number == line else 0))
            parts += [text[position : magic.start], _PLACEHOLDER, "\n" * _line_ends(magic.text)]
            position = magic.start + len(magic.text)
        parts.append(text[position:])
        tree = self._parse("".join(parts), line, column, places)
        self._replace(tree, {(line, self._bytes(line, at)): magic for line, (magic, at) in places.items()})
        return _futures_first(tree.body)

    def _parse(self, text: str, line: int, column: int, places: dict):
        try:
            tree = compile("\n" * (line - 1) + text, self._name, "exec", self._flags, dont_inherit=True)
        except SyntaxError as error:
            refused = error
        else:
            if column:
                _shift(tree, line, self._bytes(line, column))
            return tree
        raise self._about_own_text(refused, line, column, places)

    def _about_own_text(self, error: SyntaxError, line: int, column: int, places: dict) -> SyntaxError:
        """The error with places and text of the cell, where the parser saw a translation."""
        number, offset = error.lineno, error.offset
        end = [getattr(error, "end_lineno", None), getattr(error, "end_offset", None)]
        text = error.text
        if type(number) is int and 0 < number <= len(self._lines):
            text = self._lines[number - 1] + "\n"
            if number == line and offset:
                offset += column
            if end[0] == line and end[1]:
                end[1] += column
            if number in places:
                offset = min(offset or 1, places[number][1] + 1)
                end = [number, len(text)]
        where = (self._name, number, offset, text)
        if sys.version_info >= (3, 10) and None not in end:
            where += tuple(end)
        return type(error)(error.msg, where)

    def _bytes(self, line: int, characters: int) -> int:
        return len(self._lines[line - 1][:characters].encode("utf-8", "surrogatepass"))

    def _place(self, line: int, column: int) -> _Place:
        """From a column, in bytes, to the end of the line."""
        text = self._lines[line - 1].rstrip()
        return _Place(line, column, max(self._bytes(line, len(text)), column + 1))

    def _replace(self, tree, magics: dict) -> None:
        """Puts the meaning of each magic where its placeholder stands. Raises _Refused when one is no statement's."""
        waiting = [tree]
        while waiting:
            node = waiting.pop()
            for field in ("body", "orelse", "finalbody", "handlers", "cases"):
                block = getattr(node, field, None)
                if type(block) is not list:
                    continue
                changed = []
                for statement in block:
                    value = getattr(statement, "value", None)
                    at = (value.lineno, value.col_offset) if type(value) is ast.Name else None
                    magic = magics.pop(at, None)
                    if magic is None:
                        changed.append(statement)
                        waiting.append(statement)
                    else:
                        changed += self._line_magic(statement, magic, *at)
                block[:] = changed
        if magics:
            raise _Refused

    def _line_magic(self, statement, magic: _Magic, line: int, column: int) -> list:
        place = self._place(line, column)
        if type(statement) is ast.Expr:
            statement.end_lineno, statement.end_col_offset = line, place.end_column
        first = []
        if magic.kind in ("line", "bare", "cell") and _ASKED.fullmatch(magic.text) is None:
            name, arguments = _name(magic.joined())
            if magic.kind == "cell":
                value = _call("refuse", f"`%%{name}` must stand at the start of a line, and what it is for below it.")
            elif name == "time":
                first, value = self._timed(self._fragment(magic, line, column), place)
            elif name == "timeit":
                first, value = self._timeit(magic, line, column, place)
            else:
                value = _call("line", name, arguments)
        elif magic.kind == "shell":
            method = "system" if type(statement) is ast.Expr and not magic.text.startswith("!!") else "lines"
            value = _call(method, magic.joined().lstrip("!").strip())
        else:
            subject = magic.joined()
            value = _call("help", subject.strip("? \t"), "??" in subject)
        if type(value) is ast.Expr:
            statement.end_lineno, statement.end_col_offset = value.end_lineno, value.end_col_offset
            value = value.value
        statement.value = value
        place.put(*first, statement)
        statement.is_magic = True
        return [*first, statement]

    def _fragment(self, magic: _Magic, line: int, column: int, options: str = "") -> list:
        """The statements that a magic has as its argument, behind its name and options."""
        head = re.match(rf"%{{1,2}}[ \t]*\w+{_GAP}{options}", magic.text).group()
        text = magic.text[len(head) :]
        skipped = _line_ends(head)
        if not text.strip():
            return []
        if skipped:
            return self.code(text, line + skipped, len(re.split(_END, head)[-1]))
        before = len(self._lines[line - 1].encode("utf-8", "surrogatepass")[:column].decode("utf-8", "surrogatepass"))
        return self.code(text, line, before + len(head))

    # ── what is part of the tree ────────────────────────────────────────────────────────────────────────────

    def _cell_magic(self, magic: _Magic, text: str, line: int) -> list:
        name, arguments = _name(magic.joined())
        place = self._place(line, 0)
        end = magic.start + len(magic.text)
        body = text[end:]
        newline = re.match(_END, body)
        body = body[newline.end() :] if newline else ""
        below = line + 1 + _line_ends(magic.text)
        if re.fullmatch(r"\?{1,2}", arguments):
            statements = [ast.Expr(_call("help", "%%" + name, arguments == "??"))]
        elif name == "time":
            inner = self._fragment(magic, line, 0) + self.cell(body, below)
            first, value = self._timed(inner, place)
            statements = [*first, value] if type(value) is ast.Expr else first
        elif name == "capture":
            statements = self._capture(arguments, self.cell(body, below), place)
        elif name == "timeit":
            first, value = self._timeit(magic, line, 0, place, self.cell(body, below))
            statements = [*first, ast.Expr(value)]
        else:
            statements = [ast.Expr(_call("cell", name, arguments, body))]
        place.put(*statements)
        return statements

    def _timed(self, body: list, place: _Place) -> tuple:
        """Statements that time a body, and the value of its last expression: an Expr at its place; or None's node."""
        futures, body = _split_futures(body)
        value = ast.Constant(None)
        if body and type(body[-1]) is ast.Expr:
            last = body[-1]
            value = ast.copy_location(ast.Expr(ast.copy_location(_call("kept"), last)), last)
            body = [*body[:-1], ast.copy_location(ast.Expr(_call("keep", last.value)), last)]
            _Place(last.lineno, last.col_offset, last.end_col_offset).put(body[-1], value)
        return [*futures, _with(_call("timing"), None, body, place)], value

    def _capture(self, arguments: str, body: list, place: _Place) -> list:
        names = [part for part in arguments.split() if not part.startswith("-")]
        if len(names) > 1 or not all([name.isidentifier() for name in names]):
            return [ast.Expr(_call("refuse", "`%%capture NAME` keeps what the cell writes under one name.")), *body]
        futures, body = _split_futures(body)
        target = ast.Name(names[0], ast.Store()) if names else None
        return [*futures, _with(_call("capture", arguments), target, body, place)]

    def _timeit(self, magic: _Magic, line: int, column: int, place: _Place, body=None) -> tuple:
        """Statements that time a body again and again as a function of its own, and what `-o` gives."""
        given = re.match(rf"%{{1,2}}[ \t]*timeit{_GAP}({_TIMEIT_OPTIONS})", magic.text).group(1)
        setup = self._fragment(magic, line, column, _TIMEIT_OPTIONS)
        if not body:
            setup, body = [], setup
        if not body:
            return [], _call("refuse", "`%timeit STATEMENT` times a statement, `%%timeit` the cell below it.")
        start = ast.Assign([ast.Name("<start>", ast.Store())], _now())
        loop = ast.For(ast.Name("<turn>", ast.Store()), ast.Name("<turns>", ast.Load()), body, [])
        elapsed = ast.BinOp(_now(), ast.Sub(), ast.Name("<start>", ast.Load()))
        parameters = [ast.arg("<turns>"), ast.arg("<timer>")]
        function = ast.FunctionDef(
            name=_TIMED,
            args=ast.arguments(posonlyargs=[], args=parameters, kwonlyargs=[], kw_defaults=[], defaults=[]),
            body=[*setup, start, loop, ast.Return(elapsed)],
            # The decorator does the timing; the name is bound to its answer only, and deleted at once.
            decorator_list=[_call("timeit", given.strip())],
            type_params=[],
        )
        place.put(function)
        return [function, ast.Delete([ast.Name(_TIMED, ast.Del())])], _call("kept")


_TIMEIT_OPTIONS = rf"(?:-(?:[nrpv][ \t]*\d+|[tcqo]+(?=\s|\\|$)){_GAP})*"


def _line_ends(text: str) -> int:
    return len(re.findall(_END, text))


def _call(method: str, *arguments):
    """A node that calls the helper; arguments are nodes, or values that a constant may have."""
    nodes = [part if isinstance(part, ast.AST) else ast.Constant(part) for part in arguments]
    return ast.Call(ast.Attribute(ast.Constant(_HELPER), method, ast.Load()), nodes, [])


def _now():
    return ast.Call(ast.Name("<timer>", ast.Load()), [], [])


def _with(manager, target, body: list, place: _Place):
    node = ast.With([ast.withitem(manager, target)], body or [ast.Pass()])
    place.put(node)
    return node


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


# ── variables in commands ───────────────────────────────────────────────────────────────────────────────────────

_VARIABLE = re.compile(r"\{\{|\}\}|\$\$[\w.]+|\$?\{|\$([^\W\d]\w*(?:\.[^\W\d]\w*)*)")
_QUOTED = re.compile(r"\\.|\"(?:\\.|[^\"\\])*\"?|'[^']*'?", re.DOTALL)
_FORMATTED = re.compile(r"\s*([^\W\d][^!:]*?)(?:!([rsa]))?(?::([^\s{}][^{}]*))?\s*", re.DOTALL)


class _Scope:
    """The variables that a magic sees: those of the code around it."""

    def __init__(self, frame) -> None:
        self.session = frame.f_globals
        self._local = None if frame.f_locals is frame.f_globals else frame.f_locals

    def variables(self) -> dict:
        """All of them; the session's own dictionary where there are no local ones."""
        return self.session if self._local is None else {**self.session, **self._local}

    def expand(self, text: str) -> str:
        """`{expression}` and `$name` replaced by their values, `{{`, `}}` and `$$name` unescaped. What has no value
        here is the shell's: it stays as it is, and so does `$name` in single quotes."""
        if "{" not in text and "$" not in text and "}" not in text:
            return text
        variables = self.variables()
        parts, position = [], 0
        while True:
            match = _VARIABLE.search(text, position)
            if match is None:
                return "".join([*parts, text[position:]])
            parts.append(text[position : match.start()])
            token, position = match.group(), match.end()
            if token in ("{{", "}}") or token.startswith("$$"):
                parts.append(token[1:])
            elif token.endswith("{"):
                end = _closing(text, position)
                value = None if token == "${" else _evaluated(text[position : end - 1], variables)
                parts.append(text[match.start() : end] if value is None else value)
                position = end
            else:
                value = None if _in_single_quotes(text, match.start()) else _attribute(match.group(1), variables)
                parts.append(token if value is None else value)


def _closing(text: str, position: int) -> int:
    """Behind the brace that closes the one before `position`; there itself when none does."""
    depth = 1
    for at in range(position, len(text)):
        if text[at] == "{":
            depth += 1
        elif text[at] == "}":
            depth -= 1
            if depth == 0:
                return at + 1
    return position


def _in_single_quotes(text: str, position: int) -> bool:
    return any([m.start() < position < m.end() and m.group()[0] == "'" for m in _QUOTED.finditer(text)])


def _evaluated(expression: str, variables: dict):
    """The text of an expression's value; None when it has none or looks like the shell's: `{a,b}`, `{2}`, `{print}`."""
    conversion = form = ""
    try:
        tree = _expression(expression)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        match = _FORMATTED.fullmatch(expression)
        if match is None:
            return None
        expression, conversion, form = [part or "" for part in match.groups()]
        try:
            tree = _expression(expression)
        except (SyntaxError, ValueError, RecursionError, MemoryError):
            return None
    body = tree.body
    if type(body) is ast.Tuple and not expression.strip().startswith("("):
        return None
    if type(body) is ast.Constant and type(body.value) is not str:
        return None
    if type(body) is ast.Name and body.id not in variables:
        return None
    try:
        value = eval(compile(tree, "<magic>", "eval", dont_inherit=True), variables)
        if conversion:
            value = {"r": repr, "s": str, "a": ascii}[conversion](value)
        return format(value, form)
    except Exception:
        return None


def _expression(text: str):
    return compile(text.strip(), "<magic>", "eval", ast.PyCF_ONLY_AST, dont_inherit=True)


def _attribute(path: str, variables: dict):
    """The text of `name.attribute…`, as far as there are such; None when there is no such variable."""
    name, *rest = path.split(".")
    if name not in variables:
        return None
    try:
        value = variables[name]
        while rest and hasattr(value, rest[0]):
            value = getattr(value, rest.pop(0))
        return ".".join([str(value), *rest])
    except Exception:
        return None


# ── commands ────────────────────────────────────────────────────────────────────────────────────────────────────

_SHELL = "/bin/bash" if os.path.exists("/bin/bash") else "/bin/sh"
_FLEETING = (
    (re.compile(r"cd(?:\s+[^;&|]*)?"), "`%cd DIR` or os.chdir(DIR) changes the session's folder"),
    (re.compile(r"export\s+[^;&|]*"), "`%env NAME=VALUE` or os.environ sets the session's environment"),
)
"""Commands that change their shell and nothing else."""
_PIP = re.compile(r"(?:python3?\s+-m\s+)?pip3?(?![\w.-])(.*)", re.DOTALL)


def _run(command: list, scope: _Scope, stdin=None, out=None, err=None) -> int:
    """Runs a program to its end; its exit code, negative when a signal ended it, which is also the session's
    `_exit_code`. `out` and `err` take its output as bytes, and are called with none at the end; when they are the same,
    the program writes to one pipe. Without them its output is the session's. `stdin` is a descriptor.

    An exception meanwhile, an interrupt above all, ends the program and everything below it.
    """
    is_one = out is err and sys.stdout is sys.stderr
    out = out or _redirected("stdout")
    err = (out if is_one else None) or err or _redirected("stderr")
    _flush()
    sinks, opened, pid = {}, [], None
    actions = [] if stdin is None else [(os.POSIX_SPAWN_DUP2, stdin, 0)]
    try:
        try:
            for target, sink in ((1, out), (2, err)):
                if sink is None:
                    continue
                if target == 2 and sink is out:
                    actions.append((os.POSIX_SPAWN_DUP2, 1, 2))
                    continue
                reading, writing = os.pipe()
                opened += [reading, writing]
                sinks[reading] = sink
                actions.append((os.POSIX_SPAWN_DUP2, writing, target))
            # Between the start of the process and the moment its id is known, an interrupt waits.
            mask = pthread_sigmask(SIG_BLOCK, (SIGINT,))
            try:
                pid = _spawn(command, actions, mask)
            finally:
                pthread_sigmask(SIG_SETMASK, mask)
        finally:
            for writing in opened[1::2]:
                os.close(writing)
        _read(sinks, pid)
        status = _reap(pid)
    except BaseException:
        if pid is not None:
            _end(pid)
        raise
    finally:
        for reading in opened[::2]:
            os.close(reading)
    scope.session["_exit_code"] = status
    return status


def _spawn(command: list, actions: list, mask) -> int:
    # The mapping behind os.environ needs none of the builtins that session code may have deleted.
    environment = getattr(os.environ, "_data", os.environ)
    start = os.posix_spawn if "/" in command[0] else os.posix_spawnp
    return start(
        command[0],
        command,
        environment,
        file_actions=actions,
        setpgroup=0,
        setsigmask=mask,
        setsigdef=(SIGINT, SIGPIPE, SIGXFSZ),
    )


def _read(sinks: dict, pid: int) -> None:
    """Reads until every pipe has ended. When the program has, what it left behind may hold them open: then it reads
    what a pipe can hold."""
    waiting = select.poll()
    for descriptor in sinks:
        waiting.register(descriptor, select.POLLIN)
    left, last_looks = set(sinks), 4
    while left and last_looks:
        has_ended = last_looks < 4 or _has_ended(pid)
        ready = waiting.poll(0 if has_ended else _LOOK_MILLISECONDS)
        last_looks = 0 if has_ended and not ready else last_looks - has_ended
        for descriptor, _ in ready:
            data = os.read(descriptor, _READ_BYTES)
            sinks[descriptor](data)
            if not data:
                waiting.unregister(descriptor)
                left.discard(descriptor)
    for descriptor in left:
        sinks[descriptor](b"")


def _has_ended(pid: int) -> bool:
    try:
        return os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None
    except OSError:
        return True


def _reap(pid: int) -> int:
    try:
        return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    except ChildProcessError:
        return 0  # Session code has collected it, or ignores its children: nobody knows.


def _end(pid: int) -> None:
    """Ends a program and everything below it: SIGINT, then SIGKILL for what is left."""
    below = ProcessTable().tree(pid) | {pid}
    try:
        for member in below:
            send_signal(member, SIGINT)
        deadline = _monotonic() + _KILL_SECONDS
        while _monotonic() < deadline and not below.isdisjoint(ProcessTable().parent):
            _sleep(0.01)
    finally:
        table = ProcessTable()
        for member in [*below, *table.tree(pid)]:
            # Without /proc nobody is known to live, but nobody's id was given to another either: none is reaped yet.
            if member == pid or member in table.parent:
                send_signal(member, SIGKILL)
        _reap(pid)


def _redirected(name: str):
    """What takes a program's output, as long as session code has put something else in the stream's place."""
    stream = getattr(sys, name, None)
    if stream is None or stream is getattr(sys, f"__{name}__", None):
        return None
    from codecs import getincrementaldecoder

    decode = getincrementaldecoder("utf-8")("replace").decode

    def write(data: bytes) -> None:
        stream.write(decode(data, final=not data))

    return write


def _flush() -> None:
    for stream in (sys.stdout, sys.stderr, sys.__stdout__, sys.__stderr__):
        try:
            stream.flush()
        except Exception:
            pass


def _note(text: str) -> None:
    print(text, file=sys.stderr)


class SList(list):
    """The lines that a command wrote: a list, and as text `.n` (by lines), `.s` (by spaces), `.p` (existing paths)."""

    @property
    def n(self) -> str:
        return "\n".join(self)

    @property
    def s(self) -> str:
        return " ".join(self)

    @property
    def p(self) -> list:
        from pathlib import Path

        return [Path(line) for line in self if os.path.exists(line)]

    @property
    def l(self) -> SList:  # noqa: E743
        return self

    nlstr, spstr, paths, list = n, s, p, l

    def grep(self, pattern, prune=False, field=None) -> SList:
        """The lines that match a regular expression or a function; with `prune` the others. `field` is the
        whitespace-separated part that must match."""

        def target(line: str) -> str:
            if field is None:
                return line
            parts = line.split()
            return parts[field] if -len(parts) <= field < len(parts) else ""

        matches = pattern if callable(pattern) else re.compile(pattern, re.IGNORECASE).search
        return SList([line for line in self if bool(matches(target(line))) != bool(prune)])

    def fields(self, *numbers):
        """The whitespace-separated parts with these numbers, of each line that has any of them; without numbers, a
        list of all parts for each line."""
        split = [line.split() for line in self]
        if not numbers:
            return split
        chosen = [[parts[n] for n in numbers if -len(parts) <= n < len(parts)] for parts in split]
        return SList([" ".join(parts) for parts in chosen if parts])

    def __reduce__(self):
        # To other processes, which do not have this class, it is a list.
        return (type([]), (self[:],))


# ── timing, capturing, showing ──────────────────────────────────────────────────────────────────────────────────


class _Timing:
    """Prints how long its block took, also when it raised."""

    def __enter__(self) -> None:
        self._cpu, self._wall = _cpu_seconds(), _perf_counter()

    def __exit__(self, *_) -> None:
        wall = _perf_counter() - self._wall
        user, system = [after - before for before, after in zip(self._cpu, _cpu_seconds())]
        print(f"CPU times: user {_span(user)}, sys: {_span(system)}, total: {_span(user + system)}")
        print(f"Wall time: {_span(wall)}")


def _cpu_seconds() -> tuple:
    from resource import RUSAGE_SELF, getrusage

    usage = getrusage(RUSAGE_SELF)
    return usage.ru_utime, usage.ru_stime


def _span(seconds: float) -> str:
    """A duration with three digits and its unit; from a minute on in days, hours, minutes and seconds."""
    if seconds >= 60:
        parts, left = [], int(seconds)
        for unit, size in (("d", 86400), ("h", 3600), ("min", 60), ("s", 1)):
            if left >= size:
                parts.append(f"{left // size}{unit}")
                left %= size
        return " ".join(parts)
    for unit, scale in (("s", 1), ("ms", 1e3), ("µs", 1e6)):
        if seconds * scale >= 0.9995:
            return f"{seconds * scale:.3g} {unit}"
    return f"{max(seconds, 0) * 1e9:.3g} ns"


class TimeitResult:
    """What `%timeit -o` gives. Times are in seconds, for one loop; `all_runs` holds those of whole runs."""

    def __init__(self, loops: int, runs: list) -> None:
        self.loops = loops
        self.repeat = len(runs)
        self.all_runs = runs
        self.timings = [run / loops for run in runs]
        self.best, self.worst = min(self.timings), max(self.timings)
        self.average = sum(self.timings) / len(runs)
        self.stdev = (sum([(timing - self.average) ** 2 for timing in self.timings]) / len(runs)) ** 0.5

    def __str__(self) -> str:
        runs = f"{self.repeat} run{'' if self.repeat == 1 else 's'}"
        loops = f"{self.loops:,} loop{'' if self.loops == 1 else 's'}"
        return f"{_span(self.average)} ± {_span(self.stdev)} per loop (mean ± std. dev. of {runs}, {loops} each)"

    def __repr__(self) -> str:
        return f"<TimeitResult : {self}>"


def _measure(function, loops: int, repeat: int) -> TimeitResult:
    """Runs it so often that one run takes 0.2 seconds at least, when `loops` is 0."""
    import gc
    from itertools import repeat as turns

    def once(count: int) -> float:
        collecting = gc.isenabled()
        gc.disable()
        try:
            return function(turns(None, count), _perf_counter)
        finally:
            if collecting:
                gc.enable()

    if loops == 0:
        candidates = (step * 10**power for power in range(10) for step in (1, 2, 5))
        loops = next(count for count in candidates if once(count) >= 0.2 or count >= 10**9)
    return TimeitResult(loops, [once(loops) for _ in range(repeat)])


class CapturedIO:
    """What a `%%capture` cell wrote and displayed; `show()`, or a call, shows it again."""

    def __init__(self) -> None:
        from io import StringIO

        self._streams = (StringIO(), StringIO())
        self.outputs: list = []

    @property
    def stdout(self) -> str:
        return self._streams[0].getvalue()

    @property
    def stderr(self) -> str:
        return self._streams[1].getvalue()

    def show(self) -> None:
        sys.stdout.write(self.stdout)
        sys.stderr.write(self.stderr)
        for output in self.outputs:
            _show(output.mime)

    __call__ = show

    def __str__(self) -> str:
        return self.stdout

    def __repr__(self) -> str:
        return f"<CapturedIO: {len(self.stdout)} characters of stdout, {len(self.stderr)} of stderr>"


class _Capture:
    """Takes sys.stdout, sys.stderr, displays and figures for as long as its block runs, but for those that the
    options `--no-stdout`, `--no-stderr` and `--no-display` leave alone."""

    def __init__(self, options: list) -> None:
        unknown = set(options) - {"--no-stdout", "--no-stderr", "--no-display"}
        if unknown:
            raise UsageError(f"`%%capture` has no option {' '.join(sorted(unknown))}; write `%%capture NAME`.")
        self._options = options
        self._captured = CapturedIO()
        self._figures = None
        self._restore: list = []

    def __enter__(self) -> CapturedIO:
        captured = self._captured
        out, err = captured._streams
        if "--no-display" not in self._options:
            self._take_displays(captured.outputs)
        if "--no-stdout" not in self._options:
            self._put(sys, "stdout", out)
        if "--no-stderr" not in self._options:
            self._put(sys, "stderr", err)
        return captured

    def __exit__(self, *_) -> None:
        try:
            if self._figures is not None:
                self._figures.finish()
        finally:
            for restore in reversed(self._restore):
                restore()

    def _take_displays(self, outputs: list) -> None:
        api = _api()
        if api is None:
            return

        def show(mime: dict, *_) -> None:
            outputs.append(Rich(mime))

        self._figures = api.figures
        self._put(api, "_show", show)
        self._put(api.figures, "_show", show)

    def _put(self, owner, name: str, value) -> None:
        before = vars(owner).get(name, self)
        self._restore.append(lambda: delattr(owner, name) if before is self else setattr(owner, name, before))
        setattr(owner, name, value)


class Rich:
    """Content of a mime type, for `display`."""

    def __init__(self, mime: dict) -> None:
        self.mime = mime

    def _repr_mimebundle_(self, include=None, exclude=None) -> dict:
        return self.mime

    def __repr__(self) -> str:
        return self.mime.get("text/plain") or f"<{', '.join(self.mime)}>"


def _api():
    """What emits the session's displays; None where session code has removed it."""
    return getattr(getattr(sys.modules.get("execute_code"), "display", None), "__self__", None)


def _show(mime: dict) -> None:
    api = _api()
    if api is None:
        print(Rich(mime))
    else:
        api.display(Rich(mime))


_RICH = {
    "html": "text/html",
    "markdown": "text/markdown",
    "latex": "text/latex",
    "svg": "image/svg+xml",
    "javascript": "application/javascript",
    "js": "application/javascript",
}


def _text(kind: str, body: str) -> str:
    """What a reader without its form sees of some content."""
    if kind == "html":
        from .notebook import html_bundle

        return html_bundle(body)["text/plain"]
    return body if kind in ("markdown", "latex") else f"<{kind}, {len(body)} characters>"


# ── help ────────────────────────────────────────────────────────────────────────────────────────────────────────


def _describe(name: str, value, detailed: bool) -> str:
    """Signature, type, value and documentation; with `detailed` the source text in the documentation's place."""
    import inspect

    kind = type(value)
    rows = []
    if callable(value):
        try:
            rows.append(("Signature", f"{name.rpartition('.')[2]}{inspect.signature(value)}"))
        except Exception:
            pass
    rows.append(("Type", type_name(kind)))
    if not callable(value) and not inspect.ismodule(value):
        rows.append(("Value", preview(value, 200)))
        try:
            rows.append(("Length", str(len(value))))
        except Exception:
            pass
    try:
        rows.append(("File", inspect.getfile(value if inspect.ismodule(value) or callable(value) else kind)))
    except Exception:
        pass
    source = None
    if detailed:
        try:
            source = inspect.getsource(value).rstrip()
        except Exception:
            pass
    try:
        doc = inspect.getdoc(value)
    except Exception:
        doc = None
    text = "\n".join([f"{label + ':':<11}{_limited(content, 1000)}" for label, content in rows])
    if source is not None:
        return f"{text}\nSource:\n{_limited(source, _SOURCE_CHARS)}"
    return f"{text}\nDocstring:\n{_limited(doc, _DOC_CHARS)}" if doc else f"{text}\nDocstring: <none>"


def _limited(text: str, limit: int) -> str:
    return text if len(text) <= limit else f"{text[:limit]}… [{len(text) - limit} characters are left out]"


def _visible(variables: dict) -> list:
    """Names of the session's variables, sorted."""
    return sorted([name for name in list(variables) if type(name) is str and name[:1] != "_"])


# ── the helper ──────────────────────────────────────────────────────────────────────────────────────────────────

_ALIASES = {
    "ls": "ls", "ll": "ls -l", "lf": "ls -l", "lk": "ls -l", "lx": "ls -l", "ldir": "ls -l", "cat": "cat",
    "pycat": "cat", "more": "cat", "less": "cat", "man": "MANPAGER=cat man", "mkdir": "mkdir", "rmdir": "rmdir",
    "rm": "rm", "mv": "mv", "cp": "cp", "ln": "ln", "head": "head", "tail": "tail", "touch": "touch", "echo": "echo",
    "grep": "grep", "wc": "wc", "find": "find", "tree": "tree",
}  # fmt: skip

_NO_EFFECT = {
    "autoreload": "after a change, importlib.reload(module) loads a module again",
    "aimport": "after a change, importlib.reload(module) loads a module again",
    "config": "there is no IPython to configure; figures are always captured as images",
    "precision": "format(value, '.3f') or numpy.set_printoptions(precision=3) does it",
    "load_ext": "extensions of IPython are not loaded",
    "reload_ext": "extensions of IPython are not loaded",
    "unload_ext": "extensions of IPython are not loaded",
    **dict.fromkeys(("xmode", "colors", "doctest_mode", "pprint", "page"), "output has one form"),
    **dict.fromkeys(("autocall", "automagic", "autoawait", "autoindent", "autosave"), "cells are Python"),
    **dict.fromkeys(("pdb", "gui", "rehashx", "logon", "logoff", "logstate"), "it sets up IPython only"),
}
"""Magics that set up IPython itself: why they do nothing."""

_RECORDED = "every execution is on record: `ec.history()`, or `ec.history('words', limit=50)`"
_FOLDER = "`%cd DIR` or `os.chdir(DIR)`; `%pwd` tells where you are"
_SHELL_INSTEAD = "`!command`"
_LAST_ERROR = "`import traceback; traceback.print_last()`; the error itself is `sys.last_value`"
_INSTEAD = {
    "reset": "`execute-code session reset NAME`, or the tool `session` with action reset; one variable: `del name`",
    "reset_selective": "`del name, other`",
    "xdel": "`del {arguments}`",
    "store": "`import pickle; pickle.dump(value, open('value.pickle', 'wb'))`; variables stay as long as the session",
    "debug": f"nobody sits at a debugger: print the values before the line that fails, and see {_LAST_ERROR}",
    "tb": _LAST_ERROR,
    "prun": "`import cProfile; cProfile.run({arguments!r}, sort='tottime')`",
    "lprun": "`import cProfile; cProfile.run('function()', sort='tottime')`",
    "memit": "`import tracemalloc; tracemalloc.start()` before it, `tracemalloc.get_traced_memory()` after it",
    "mprun": "`import tracemalloc; tracemalloc.start()` before it, `tracemalloc.get_traced_memory()` after it",
    **dict.fromkeys(("edit", "ed"), "`%%writefile file.py` as the first line of a cell, then `%run file.py`"),
    **dict.fromkeys(("load", "loadpy"), "`print(open({arguments!r}).read())` shows it, `%run {arguments}` runs it"),
    "pylab": "`import numpy as np, matplotlib.pyplot as plt`",
    **dict.fromkeys(("pushd", "popd", "dirs", "dhist", "bookmark"), _FOLDER),
    **dict.fromkeys(("alias", "unalias", "alias_magic", "killbgscripts"), _SHELL_INSTEAD),
    "sc": "`lines = !command`",
    "psearch": "`[name for name in dir() if 'part' in name]`",
    **dict.fromkeys(("history", "hist", "recall", "rep", "rerun"), _RECORDED),
    **dict.fromkeys(("save", "macro", "notebook", "pastebin", "logstart", "logstop"), _RECORDED),
    "sql": "`import sqlite3; sqlite3.connect('file.db').execute('select …').fetchall()`, or your database's driver",
    "cython": "`%%writefile module.pyx` above the cell, then `!cythonize -i module.pyx` and `import module`",
    "R": "`%%script Rscript -` as the first line of a cell",
    "tensorboard": "`!tensorboard --logdir DIR --inspect`",
}
"""Magics that cannot work here: what to write in their place."""

_SCRIPTS = ("python", "python3", "python2", "pypy", "perl", "ruby", "node", "bash", "sh")


class Helper:
    """What the code of magics calls."""

    LINE: dict = {}
    """Line magics by name, as methods that take the arguments and the scope."""
    CELL: dict = {}
    """Cell magics by name, as methods that take the arguments, the body and the scope."""

    def __init__(self) -> None:
        self._kept = None
        self._folder_before = None

    # ── called by translated code ───────────────────────────────────────────────────────────────────────────

    def keep(self, value) -> None:
        self._kept = value

    def kept(self):
        """What was kept last; once."""
        value, self._kept = self._kept, None
        return value

    def timing(self) -> _Timing:
        return _Timing()

    def capture(self, arguments: str) -> _Capture:
        return _Capture([part for part in arguments.split() if part.startswith("-")])

    def timeit(self, options: str):
        """A decorator that times a function of turns and timer, prints the result, and keeps it when asked to."""
        numbers = {key: int(value) for key, value in re.findall(r"-([nrpv])\s*(\d+)", options)}
        letters = "".join(re.findall(r"-([tcqo]+)", options))

        def run(function) -> None:
            result = _measure(function, numbers.get("n", 0), max(numbers.get("r", 7), 1))
            if "q" not in letters:
                print(result)
            self._kept = result if "o" in letters else None

        return run

    def line(self, name: str, arguments: str):
        """`%name arguments`; its value."""
        scope = _Scope(sys._getframe(1))
        method = self.LINE.get(name)
        if method is not None:
            return method(self, scope.expand(arguments), scope)
        if name in _ALIASES:
            return self._shell(f"{_ALIASES[name]} {scope.expand(arguments)}", scope)
        if name in _NO_EFFECT:
            why = _NO_EFFECT["autoreload" if "autoreload" in arguments else name]
            return _note(f"%{name} has no effect here: {why}.")
        raise UsageError(_instead(name, arguments))

    def refuse(self, message: str) -> None:
        raise UsageError(message)

    def cell(self, name: str, arguments: str, body: str):
        """`%%name arguments` above a body; its value."""
        scope = _Scope(sys._getframe(1))
        if body and not body.endswith("\n"):
            body += "\n"
        arguments = scope.expand(arguments)
        method = self.CELL.get(name)
        if method is not None:
            return method(self, arguments, body, scope)
        if name in _SCRIPTS:
            return self._script(_interpreter(name), arguments, body, scope)
        kind = name.lower()
        if kind in _RICH:
            return _show({"text/plain": _text(kind, body), _RICH[kind]: body})
        raise UsageError(_instead(name, body.strip() or arguments, "%%"))

    def system(self, command: str) -> None:
        """`!command`: runs it in a shell, with the session's output."""
        scope = _Scope(sys._getframe(1))
        command = scope.expand(command).strip()
        self._shell(command, scope)
        for fleeting, instead in _FLEETING:
            if fleeting.fullmatch(command):
                _note(f"`!{command.split()[0]}` ends with its own shell: {instead}.")

    def lines(self, command: str) -> SList:
        """The lines that a command writes, its stderr among them."""
        scope = _Scope(sys._getframe(1))
        return self._lines(scope.expand(command), scope)

    def help(self, subject: str, detailed: bool) -> None:
        """Prints what `subject`, a name with attributes and items or a pattern of names, is."""
        self._help(subject, detailed, _Scope(sys._getframe(1)))

    # ── commands ────────────────────────────────────────────────────────────────────────────────────────────

    def _shell(self, command: str, scope: _Scope, out=None, err=None) -> None:
        """Runs a command in a shell. `pip` is that of the session's interpreter; what is installed can be imported."""
        pip = _PIP.match(command)
        if pip is not None:
            # Nobody answers pip's question.
            arguments = re.sub(r"(?s)^\s*uninstall\b(?!.*\s(?:-y|--yes)\b)", " uninstall --yes", pip.group(1))
            command = f"{_quoted(sys.executable)} -m pip{arguments}"
        status = _run([_SHELL, "-c", command], scope, out=out, err=err)
        if pip is not None and status != 0:
            _require_pip()
        if "install" in command:
            _find_installed()

    def _lines(self, command: str, scope: _Scope) -> SList:
        written = bytearray()
        take = written.extend
        self._shell(command.strip(), scope, take, take)
        return SList(written.decode("utf-8", "replace").splitlines())

    def _pip(self, arguments: str, scope: _Scope) -> None:
        self._shell(f"pip {arguments}", scope)

    def _conda(self, arguments: str, scope: _Scope) -> None:
        words = re.sub(r"(?<!\S)(?:-y|--yes|-q|--quiet|(?:-c|--channel|-n|--name)[ =]\S+)(?!\S)", "", arguments).split()
        raise UsageError(f"`%conda` is not here: use `%pip {' '.join(words) or 'install NAME'}`.")

    def _script(self, command: list, arguments: str, body: str, scope: _Scope) -> None:
        """Runs a program with the body as its input. Raises CalledProcessError when it fails."""
        import tempfile

        taken, arguments = _script_options(arguments)
        if "--bg" in taken:
            raise UsageError("`--bg` is not here: use `import subprocess; subprocess.Popen(['bash', '-c', '…'])`.")
        sinks = {option: bytearray() for option in ("--out", "--err") if option in taken}
        command = [*command, *_words(arguments)]
        with tempfile.TemporaryFile() as script:
            script.write(body.encode("utf-8", "surrogateescape"))
            script.seek(0)
            try:
                out, err = [sinks[option].extend if option in sinks else None for option in ("--out", "--err")]
                status = _run(command, scope, script.fileno(), out, err)
            except FileNotFoundError:
                raise UsageError(f"`{command[0]}` is not installed here, or not on PATH.") from None
        for option, written in sinks.items():
            scope.session[taken[option]] = written.decode("utf-8", "replace")
        if status != 0 and "--no-raise-error" not in taken:
            from subprocess import CalledProcessError

            raise CalledProcessError(status, " ".join(command))

    # ── line magics ─────────────────────────────────────────────────────────────────────────────────────────

    def _matplotlib(self, _arguments: str, _scope: _Scope) -> None:
        """Nothing: open figures are always captured at the end of a cell."""

    def _cd(self, arguments: str, _scope: _Scope) -> None:
        quiet = re.match(r"-q(?:\s+|$)", arguments)
        folder = arguments[quiet.end() :] if quiet else arguments
        words = _words(folder) if any([mark in folder for mark in "\"'#"]) else [folder]
        target = os.path.expanduser(words[0] if words and words[0] else "~")
        if target == "-":
            if self._folder_before is None:
                raise UsageError("`%cd -` goes back, but there is no folder before this one; `%cd DIR` goes there.")
            target = self._folder_before
        before = os.getcwd()
        os.chdir(target)
        self._folder_before = before
        if not quiet:
            print(os.getcwd())

    def _pwd(self, _arguments: str, _scope: _Scope) -> str:
        return os.getcwd()

    def _env(self, arguments: str, _scope: _Scope):
        name, sign, value = arguments.partition("=")
        if not sign:
            name, sign, value = arguments.partition(" ")
        name = name.strip()
        if not name:
            return dict(os.environ)
        if not sign:
            if name not in os.environ:
                raise UsageError(f"There is no environment variable {name}; `%env {name}=VALUE` sets it.")
            return os.environ[name]
        os.environ[name] = value.strip()
        print(f"env: {name}={value.strip()}")
        return None

    def _set_env(self, arguments: str, scope: _Scope):
        if not re.search(r"[\s=]", arguments):
            raise UsageError("`%set_env NAME VALUE` sets an environment variable; `%env NAME` shows one.")
        return self._env(arguments, scope)

    def _who_ls(self, arguments: str, scope: _Scope) -> list:
        kinds = arguments.split()
        names = _visible(scope.session)
        return [name for name in names if not kinds or type_name(type(scope.session[name])) in kinds]

    def _who(self, arguments: str, scope: _Scope) -> None:
        print("\t".join(self._who_ls(arguments, scope)) or "There are no variables.")

    def _whos(self, arguments: str, scope: _Scope) -> None:
        names = self._who_ls(arguments, scope)
        if not names:
            return print("There are no variables.")
        rows = [(name, type_name(type(scope.session[name])), preview(scope.session[name])) for name in names]
        widths = [max([len(row[column]) for row in [*rows, _HEADINGS]]) for column in (0, 1)]
        for name, kind, value in [_HEADINGS, *rows]:
            print(f"{name:<{widths[0]}}  {kind:<{widths[1]}}  {value}")

    def _run_file(self, arguments: str, scope: _Scope) -> None:
        """Runs a file, or with `-m` a module, in the session's variables, as its `__main__`."""
        words = _words(arguments)
        while words and words[0] in ("-i", "-e", "-n", "-G"):
            words.pop(0)
        if not words or (words[0].startswith("-") and words[0] != "-m"):
            raise UsageError("`%run FILE.py [arguments]` or `%run -m MODULE [arguments]` runs a program.")
        if words[0] == "-m":
            return self._run_module(words[1:], scope)
        path = os.path.expanduser(words[0])
        if not os.path.exists(path) and os.path.exists(path + ".py"):
            path += ".py"
        if path.endswith(".ipynb"):
            raise UsageError(f"`%run` takes Python: `!jupyter nbconvert --to script {words[0]}` makes a .py of it.")
        with open(path, "rb") as file:
            code = compile(file.read(), path, "exec", dont_inherit=True)
        before = {name: scope.session[name] for name in ("__file__", "__name__") if name in scope.session}
        scope.session.update(__file__=path, __name__="__main__")
        try:
            _as_program([path, *words[1:]], os.path.dirname(os.path.abspath(path)), lambda: exec(code, scope.session))
        finally:
            scope.session.pop("__file__", None)
            scope.session.update(before)

    def _run_module(self, words: list, scope: _Scope) -> None:
        from runpy import run_module

        if not words:
            raise UsageError("`%run -m MODULE [arguments]` runs a module.")
        found: dict = {}
        _as_program(words, "", lambda: found.update(run_module(words[0], run_name="__main__", alter_sys=False)))
        scope.session.update({name: value for name, value in found.items() if not name.startswith("__")})

    def _inspect(self, arguments: str, scope: _Scope) -> None:
        self._help(arguments.strip("? "), "??" in arguments, scope)

    def _source(self, arguments: str, scope: _Scope) -> None:
        self._help(arguments.strip("? "), True, scope)

    def _help(self, subject: str, detailed: bool, scope: _Scope) -> None:
        variables = scope.variables()
        if subject.startswith("%"):
            return print(_about_magic(subject))
        if "*" in subject:
            from fnmatch import fnmatchcase

            owner, _, pattern = subject.rpartition(".")
            try:
                names = dir(eval(owner, variables)) if owner else [*_visible(variables), *dir(_live_builtins)]
            except Exception:
                names = []
            found = [f"{owner}.{name}" if owner else name for name in names if fnmatchcase(name, pattern)]
            return print(_limited("\n".join(found), _DOC_CHARS) or f"Nothing matches `{subject}`.")
        try:
            value = eval(subject, variables)
        except Exception:
            return print(f"Object `{subject}` not found.")
        print(_describe(subject, value, detailed))

    # ── cell magics ─────────────────────────────────────────────────────────────────────────────────────────

    def _script_cell(self, arguments: str, body: str, scope: _Scope) -> None:
        taken = re.match(_SCRIPT_OPTIONS, arguments).group()
        words = _words(arguments[len(taken) :])
        if not words:
            raise UsageError("`%%script PROGRAM [arguments]` runs a program with the cell below as its input.")
        self._script(words, taken, body, scope)

    def _lines_cell(self, arguments: str, body: str, scope: _Scope) -> SList:
        return self._lines(f"{arguments}\n{body}", scope)

    def _write_file(self, arguments: str, body: str, _scope: _Scope) -> None:
        words = _words(arguments)
        appends = [word for word in words if word in ("-a", "--append")]
        paths = [word for word in words if word not in appends]
        if len(paths) != 1:
            raise UsageError("`%%writefile [-a] PATH` writes the cell below it to one file.")
        path = os.path.expanduser(paths[0])
        verb = "Appending to" if appends else "Overwriting" if os.path.exists(path) else "Writing"
        with open(path, "a" if appends else "w", encoding="utf-8") as file:
            file.write(body)
        print(f"{verb} {path}")


Helper.LINE.update(
    matplotlib=Helper._matplotlib,
    cd=Helper._cd,
    pwd=Helper._pwd,
    env=Helper._env,
    set_env=Helper._set_env,
    who=Helper._who,
    whos=Helper._whos,
    who_ls=Helper._who_ls,
    run=Helper._run_file,
    pip=Helper._pip,
    pip3=Helper._pip,
    sx=Helper._lines,
    system=Helper._lines,
    **dict.fromkeys(("conda", "mamba", "micromamba"), Helper._conda),
    **dict.fromkeys(("pinfo", "pdoc", "pdef"), Helper._inspect),
    **dict.fromkeys(("pinfo2", "psource", "pfile"), Helper._source),
)
Helper.CELL.update(
    script=Helper._script_cell,
    writefile=Helper._write_file,
    file=Helper._write_file,
    sx=Helper._lines_cell,
    system=Helper._lines_cell,
)
Helper.CELL["!"] = Helper._lines_cell

_HEADINGS = ("Variable", "Type", "Value")
_SCRIPT_OPTIONS = r"(?:--(?:out|err|proc)[ =]\s*\w+\s*|--(?:bg|no-raise-error|raise-error)\b\s*)*"
_IN_TREE = ("time", "timeit", "capture")


def _require_pip() -> None:
    """Raises UsageError when the session's interpreter has no pip."""
    from importlib.util import find_spec

    if find_spec("pip") is None:
        python = _quoted(sys.executable)
        how = f"`!{python} -m ensurepip --upgrade`"
        if find_spec("ensurepip") is None:
            how = f"`!uv pip install --python {python} pip`, or your system's package python3-pip,"
        raise UsageError(f"{sys.executable} has no pip; {how} installs it.")


def _find_installed() -> None:
    """Lets imports see what has been installed, also into the user's own folder of packages."""
    import importlib
    import site

    importlib.invalidate_caches()
    folder = site.getusersitepackages()
    if folder not in sys.path and os.path.isdir(folder):
        site.addsitedir(folder)


def _script_options(arguments: str) -> tuple:
    """IPython's own options of a script cell by name, and the program's arguments."""
    given = re.match(_SCRIPT_OPTIONS, arguments).group()
    found = re.findall(r"(--[\w-]+)(?:[ =]\s*(\w+))?", given)
    return dict(found), arguments[len(given) :]


def _interpreter(name: str) -> list:
    if name in ("python", "python3"):
        return [sys.executable]
    return [_SHELL] if name == "bash" else [name]


def _as_program(arguments: list, folder: str, run) -> None:
    """Calls `run` with sys.argv and sys.path of a program. A program may exit, as long as it does so in success."""
    argv, sys.argv = sys.argv, arguments
    sys.path.insert(0, folder)
    try:
        run()
    except SystemExit as error:
        if error.code not in (None, 0):
            raise
    finally:
        sys.argv = argv
        if folder in sys.path:
            sys.path.remove(folder)


def _words(text: str) -> list:
    """A command line's words, as the shell splits them."""
    from shlex import split

    try:
        return split(text, comments=True)
    except ValueError as error:
        raise UsageError(f"`{text}` cannot be split into words: {error}.") from None


def _quoted(word: str) -> str:
    return word if re.fullmatch(r"[\w@%+=:,./-]+", word, re.ASCII) else "'" + word.replace("'", "'\"'\"'") + "'"


def _works() -> str:
    names = [*Helper.LINE, *_ALIASES, "time", "timeit"]
    cells = [*Helper.CELL, *_SCRIPTS, *_RICH, *_IN_TREE]
    return f"{' '.join(['%' + name for name in sorted(names)])} {' '.join(['%%' + name for name in sorted(cells)])}"


def _instead(name: str, arguments: str, sign: str = "%") -> str:
    """The message about a magic that does not work here."""
    if name == "prun":
        arguments = re.sub(r"^(?:-[lsTD]\s*\S+\s+|-[qr]+\s+)*", "", arguments)
    arguments = _limited(arguments, 200)
    if name in ("lsmagic", "magic", "quickref"):
        return f"`%{name}` is not here. These magics work: `!command` `name?` {_works()}"
    if sign == "%" and (name in Helper.CELL or name in _SCRIPTS or name.lower() in _RICH or name == "capture"):
        return f"`%{name}` works on a cell: write `%%{name} {arguments}".rstrip() + "` above its text."
    if sign == "%%" and (name in Helper.LINE or name in _ALIASES or name in _NO_EFFECT):
        return f"`%%{name}` works on a line: write `%{name} {arguments.partition(chr(10))[0]}".rstrip() + "`."
    if name in _INSTEAD:
        return f"`{sign}{name}` is not here: use {_INSTEAD[name].format(arguments=arguments)}."
    return (
        f"`{sign}{name}` is a magic of IPython that sessions do not have; write what it does in Python, or as a shell "
        f"command: `!command`."
    )


def _about_magic(subject: str) -> str:
    """What `%name?` says."""
    name = subject.lstrip("%")
    if name in _NO_EFFECT:
        return f"%{name} has no effect here: {_NO_EFFECT[name]}."
    sign = subject[: len(subject) - len(name)]
    known = {"%": [*Helper.LINE, *_ALIASES, "time", "timeit"], "%%": [*Helper.CELL, *_SCRIPTS, *_RICH, *_IN_TREE]}
    if name in known.get(sign, ()):
        return f"{sign}{name} works here as in IPython."
    return _instead(name, "", sign)
