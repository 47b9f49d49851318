"""`name?`: what a value is."""

from __future__ import annotations

from ..private import builtins as __builtins__

import builtins as _live_builtins

from ..previews import preview, type_name
from .replacements import limited

_VALUE_CHARS = 200
_ROW_CHARS = 1000
_DOC_CHARS = 4_000
_SOURCE_CHARS = 20_000


def describe(subject: str, detailed: bool, variables: dict) -> str:
    """Signature, type, value and documentation, with `detailed` the source text in the documentation's place; or the
    names that match a pattern."""
    if "*" in subject:
        return limited("\n".join(_matching(subject, variables)), _DOC_CHARS) or f"Nothing matches `{subject}`."
    try:
        value = eval(subject, variables)
    except Exception:
        return f"Object `{subject}` not found."
    import inspect

    is_definition = callable(value) or inspect.ismodule(value)
    looks = {
        "Signature": lambda: f"{subject.rpartition('.')[2]}{inspect.signature(value)}",
        "Type": lambda: type_name(type(value)),
        "Value": lambda: None if is_definition else preview(value, _VALUE_CHARS),
        "Length": lambda: None if is_definition else str(len(value)),
        "File": lambda: inspect.getfile(value if is_definition else type(value)),
    }
    rows = [(label, _tried(look)) for label, look in looks.items()]
    text = "".join([f"{label + ':':<11}{limited(found, _ROW_CHARS)}\n" for label, found in rows if found])
    source = _tried(lambda: inspect.getsource(value).rstrip()) if detailed else None
    if source:
        return f"{text}Source:\n{limited(source, _SOURCE_CHARS)}"
    doc = _tried(lambda: inspect.getdoc(value))
    return f"{text}Docstring:\n{limited(doc, _DOC_CHARS)}" if doc else f"{text}Docstring: <none>"


def _tried(look):
    try:
        return look()
    except Exception:
        return None


def _matching(pattern: str, variables: dict) -> list:
    from fnmatch import fnmatchcase

    owner, dot, _ = pattern.rpartition(".")
    names = _tried(lambda: dir(eval(owner, variables))) if owner else {*map(str, variables), *dir(_live_builtins)}
    return [owner + dot + name for name in sorted(names or []) if fnmatchcase(owner + dot + name, pattern)]
