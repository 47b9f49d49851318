"""Magics of IPython that cannot work here, and what to write in their place."""

from __future__ import annotations

from ..private import builtins as __builtins__

import re

_ARGUMENTS_CHARS = 200


class UsageError(Exception):
    """A magic that has no meaning here, or not with these arguments; the message says what to write instead."""


UsageError.__module__ = "builtins"  # Tracebacks name it without the kernel's package.

_RELOAD = "after a change, importlib.reload(module) loads a module again"
_NO_EFFECT = {
    "autoreload": _RELOAD,
    "aimport": _RELOAD,
    "config": "there is no IPython to configure; figures are always captured as images",
    "precision": "format(value, '.3f') or numpy.set_printoptions(precision=3) does it",
    **dict.fromkeys(("load_ext", "reload_ext", "unload_ext"), "extensions of IPython are not loaded"),
    **dict.fromkeys(("xmode", "colors", "doctest_mode", "pprint", "page"), "output has one form"),
    **dict.fromkeys(("autocall", "automagic", "autoawait", "autoindent", "autosave"), "cells are Python"),
    **dict.fromkeys(("pdb", "gui", "rehashx", "logon", "logoff", "logstate"), "it sets up IPython only"),
}
"""Magics that set up IPython itself: why they do nothing."""

_RECORDED = "every execution is on record: `ec.history()`, or `ec.history('words', limit=50)`"
_LAST_ERROR = "`import traceback; traceback.print_last()`; the error itself is `sys.last_value`"
_PROFILE = "`import cProfile; cProfile.run({arguments!r}, sort='tottime')`"
_MEMORY = "`import tracemalloc; tracemalloc.start()` before it, `tracemalloc.get_traced_memory()` after it"
_INSTEAD = {
    "reset": "`execute-code session reset NAME`, or the tool `session` with action reset; one variable: `del name`",
    **dict.fromkeys(("xdel", "reset_selective"), "`del name`"),
    "store": "`import pickle; pickle.dump(value, open('value.pickle', 'wb'))`; variables stay as long as the session",
    "debug": f"nobody sits at a debugger: print the values before the line that fails, and see {_LAST_ERROR}",
    "tb": _LAST_ERROR,
    "prun": _PROFILE,
    "lprun": "`import cProfile; cProfile.run('function()', sort='tottime')`",
    **dict.fromkeys(("memit", "mprun"), _MEMORY),
    **dict.fromkeys(("edit", "ed"), "`%%writefile file.py` as the first line of a cell, then `%run file.py`"),
    **dict.fromkeys(("load", "loadpy"), "`print(open({arguments!r}).read())` shows it, `%run {arguments}` runs it"),
    "pylab": "`import numpy as np, matplotlib.pyplot as plt`",
    **dict.fromkeys(("pushd", "popd", "dirs", "dhist", "bookmark"), "`%cd DIR`; `%pwd` tells where you are"),
    **dict.fromkeys(("alias", "unalias", "alias_magic", "killbgscripts", "sc"), "`!command` or `lines = !command`"),
    **dict.fromkeys(("history", "hist", "recall", "rep", "rerun"), _RECORDED),
    **dict.fromkeys(("save", "macro", "notebook", "pastebin", "logstart", "logstop"), _RECORDED),
    "sql": "`import sqlite3; sqlite3.connect('file.db').execute('select …').fetchall()`, or your database's driver",
    "cython": "`%%writefile module.pyx` above the cell, then `!cythonize -i module.pyx` and `import module`",
    "R": "`%%script Rscript -` as the first line of a cell",
    "tensorboard": "`!tensorboard --logdir DIR --inspect`",
}
"""Magics that cannot work here: what to write in their place."""


def no_effect(name: str, arguments: str = "") -> str | None:
    """What is said of a magic that sets up IPython itself."""
    why = _NO_EFFECT.get("autoreload" if "autoreload" in arguments else name)
    return None if why is None or name not in _NO_EFFECT else f"%{name} has no effect here: {why}."


def instead(sign: str, name: str, arguments: str, working: dict) -> str:
    """What is said of a magic that does not work here. `working` has the names of those that do, by `%` and `%%`."""
    if name == "prun":
        arguments = re.sub(r"^(?:-[lsTD]\s*\S+\s+|-[qr]+\s+)*", "", arguments)
    arguments = limited(arguments, _ARGUMENTS_CHARS)
    if name in ("lsmagic", "magic", "quickref"):
        known = [sign + name for sign in working for name in sorted(working[sign])]
        return f"`%{name}` is not here. These magics work: `!command` `name?` {' '.join(known)}"
    if sign == "%" and name.lower() in working["%%"]:
        return f"`%{name}` works on a cell: write `%%{name} {arguments}".rstrip() + "` above its text."
    if sign == "%%" and name in working["%"]:
        return f"`%%{name}` works on a line: write `%{name} {arguments.partition(chr(10))[0]}".rstrip() + "`."
    if name in _INSTEAD:
        return f"`{sign}{name}` is not here: use {_INSTEAD[name].format(arguments=arguments)}."
    return (
        f"`{sign}{name}` is a magic of IPython that sessions do not have; write what it does in Python, or as a shell "
        f"command: `!command`."
    )


def limited(text: str, limit: int) -> str:
    return text if len(text) <= limit else f"{text[:limit]}… [{len(text) - limit} characters are left out]"
