"""The variables that a magic sees, and `{expression}` and `$name` in commands."""

from __future__ import annotations

from ..private import builtins as __builtins__

import ast
import re

_BRACES = r"\{[^{}]*\}"
for _ in range(4):
    _BRACES = rf"\{{(?:[^{{}}]|{_BRACES})*\}}"
_VARIABLE = re.compile(rf"\{{\{{|\}}\}}|\$\$[\w.]+|\$?{_BRACES}|\$([^\W\d]\w*(?:\.[^\W\d]\w*)*)")
_QUOTED = re.compile(r"\\.|\"(?:\\.|[^\"\\])*\"?|'[^']*'?", re.DOTALL)


class Scope:
    """The variables of the code around a magic."""

    def __init__(self, frame) -> None:
        self.session = self.variables = frame.f_globals
        if frame.f_locals is not frame.f_globals:
            self.variables = {**frame.f_globals, **frame.f_locals}

    def expand(self, text: str) -> str:
        """`{expression}` and `$name` replaced by their values, `{{`, `}}` and `$$name` unescaped. What has no value
        here is the shell's: it stays as it is, and so does `$name` in single quotes."""
        if not any([mark in text for mark in "{}$"]):
            return text

        def value(match) -> str:
            token, found = match.group(), None
            if token in ("{{", "}}") or token.startswith("$$"):
                return token[1:]
            if token.startswith("{"):
                found = _expression(token[1:-1], self.variables)
            elif match.group(1) and not _in_single_quotes(text, match.start()):
                found = _attribute(match.group(1), self.variables)
            return token if found is None else found

        return _VARIABLE.sub(value, text)


def _in_single_quotes(text: str, position: int) -> bool:
    return any([m.start() < position < m.end() and m.group()[0] == "'" for m in _QUOTED.finditer(text)])


def _expression(text: str, variables: dict) -> str | None:
    """The text of an expression's value; None when it has none or looks like the shell's: `{a,b}`, `{2}`, `{print}`."""
    tree = _parsed(text.strip())
    body = tree and tree.body
    if tree is None:
        # With `!r` or `:05.1f` behind it an expression is part of a format string.
        tree = _parsed(f"f'''{{{text}}}'''")
        body = tree and tree.body.values[0].value
    is_list = type(body) is ast.Tuple and not text.lstrip().startswith("(")
    if body is None or is_list or type(body) is ast.Constant or (type(body) is ast.Name and body.id not in variables):
        return None
    try:
        return format(eval(compile(tree, "<magic>", "eval", dont_inherit=True), variables))
    except Exception:
        return None


def _parsed(text: str):
    try:
        return compile(text, "<magic>", "eval", ast.PyCF_ONLY_AST, dont_inherit=True)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None


def _attribute(path: str, variables: dict) -> str | None:
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
