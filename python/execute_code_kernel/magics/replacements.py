"""Magics of IPython that cannot work here, and what to write in their place."""

from __future__ import annotations

from ..private import builtins as __builtins__

import re

_ARGUMENTS_CHARS = 200


class UsageError(Exception):
    """A magic that has no meaning here, or not with these arguments; the message says what to write instead."""


UsageError.__module__ = "builtins"  # Tracebacks name it without the kernel's package.

_NO_EFFECT = {
    "importlib.reload(module) loads a changed module again": "autoreload aimport",
    "there are no extensions; importlib.reload(module) loads a changed module again": "load_ext reload_ext unload_ext",
    "there is no IPython to configure; figures are always captured as images": "config",
    "format(value, '.3f') or numpy.set_printoptions(precision=3) does it": "precision",
    "output has one form": "xmode colors doctest_mode pprint page",
    "cells are Python": "autocall automagic autoawait autoindent autosave",
    "it sets up IPython only": "pdb gui rehashx logon logoff logstate",
}
NO_EFFECT = {
    name: f"%{name} has no effect here: {why}." for why, names in _NO_EFFECT.items() for name in names.split()
}
"""What is said of magics that set up IPython itself."""

_LAST_ERROR = "`import traceback; traceback.print_last()`; the error itself is `sys.last_value`"
_INSTEAD = {
    "`execute-code session reset NAME`, or the tool `session` with action reset; one variable: `del name`": "reset",
    "`del name`": "xdel reset_selective",
    "`import pickle; pickle.dump(value, open('value.pickle', 'wb'))`; variables stay as long as the session": "store",
    f"prints of the values before the line that fails, for nobody sits at a debugger, and {_LAST_ERROR}": "debug",
    _LAST_ERROR: "tb",
    "`import cProfile; cProfile.run({arguments!r}, sort='tottime')`": "prun",
    "`import cProfile; cProfile.run('function()', sort='tottime')`": "lprun",
    "`import tracemalloc; tracemalloc.start()` before it, `tracemalloc.get_traced_memory()` after it": "memit mprun",
    "`%%writefile file.py` as the first line of a cell, then `%run file.py`": "edit ed",
    "`print(open({arguments!r}).read())` to see it, `%run {arguments}` to run it": "load loadpy",
    "`import numpy as np, matplotlib.pyplot as plt`": "pylab",
    "`%cd DIR`; `%pwd` tells where you are": "pushd popd dirs dhist bookmark",
    "`!command` or `lines = !command`": "alias unalias alias_magic killbgscripts sc",
    "`ec.history()` or `ec.history('words', limit=50)`; every execution is on record":
        "history hist recall rep rerun save macro notebook pastebin logstart logstop",
    "`import sqlite3; sqlite3.connect('file.db').execute('select …').fetchall()`, or your database's driver": "sql",
    "`%%writefile module.pyx` above the cell, then `!cythonize -i module.pyx` and `import module`": "cython",
    "`%%script Rscript -` as the first line of a cell": "R",
    "`!tensorboard --logdir DIR --inspect`": "tensorboard",
}  # fmt: skip
_BY_NAME = {name: text for text, names in _INSTEAD.items() for name in names.split()}


def instead(sign: str, name: str, arguments: str, working: dict) -> str:
    """What is said of a magic that does not work here. `working` has the names of those that do, by `%` and `%%`."""
    if name == "prun":
        arguments = re.sub(r"^(?:-[lsTD]\s*\S+\s+|-[qr]+\s+)*", "", arguments)
    arguments = limited(arguments, _ARGUMENTS_CHARS)
    if name in ("lsmagic", "magic", "quickref"):
        known = [sign + name for sign in working for name in working[sign]]
        return f"`%{name}` is not here. These magics work: `!command` `name?` {' '.join(known)}"
    other, where = ("%%", "cell") if sign == "%" else ("%", "line")
    if name in working[other]:
        use = f"{other}{name} {arguments.partition(chr(10))[0]}".rstrip()
        return f"`{sign}{name}` works on a {where}: write `{use}`{' above its text' if where == 'cell' else ''}."
    if name in _BY_NAME:
        return f"`{sign}{name}` is not here: use {_BY_NAME[name].format(arguments=arguments)}."
    return (
        f"`{sign}{name}` is a magic of IPython that sessions do not have; write what it does in Python, or as a shell "
        f"command: `!command`."
    )


def limited(text: str, limit: int) -> str:
    return text if len(text) <= limit else f"{text[:limit]}… [{len(text) - limit} characters are left out]"
