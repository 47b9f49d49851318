"""Line magics: functions of the arguments, in which variables have been replaced, and of the scope."""

from __future__ import annotations

from ..private import builtins as __builtins__

import os
import re
import sys
from functools import partial

from ..previews import preview, type_name
from .commands import lines, shell
from .help import describe
from .replacements import UsageError

_SHELL = {
    "ll": "ls -l", "lf": "ls -l", "ldir": "ls -l", "pycat": "cat", "more": "cat", "less": "cat", "man": "MANPAGER=cat man",
    **{name: name for name in "ls cat mkdir rmdir rm mv cp ln head tail touch echo grep wc find tree pip pip3".split()},
}  # fmt: skip
_HEADINGS = ("Variable", "Type", "Value")


def words(text: str) -> list:
    """A command line's words, as the shell splits them."""
    from shlex import split

    try:
        return split(text, comments=True)
    except ValueError as error:
        raise UsageError(f"`{text}` cannot be split into words: {error}.") from None


def _command(command: str, arguments: str, scope) -> None:
    shell(f"{command} {arguments}", scope)


def _matplotlib(_arguments: str, _scope) -> None:
    """Nothing: open figures are always captured at the end of a cell."""


def _conda(arguments: str, _scope) -> None:
    options = r"(?<!\S)(?:-y|--yes|-q|--quiet|(?:-c|--channel|-n|--name)[ =]\S+)(?!\S)"
    wanted = " ".join(re.sub(options, "", arguments).split())
    raise UsageError(f"`%conda` is not here: use `%pip {wanted or 'install NAME'}`.")


def _cd(arguments: str, _scope) -> None:
    quiet, folder = re.match(r"(-q(?:\s+|$))?(.*)", arguments).groups()
    if not set(folder).isdisjoint("\"'#"):
        folder = "".join(words(folder)[:1])
    target = os.path.expanduser(folder or "~")
    if target == "-":
        target = os.environ.get("OLDPWD")
        if target is None:
            raise UsageError("`%cd -` goes back, but there is no folder before this one; `%cd DIR` goes there.")
    before = os.getcwd()
    os.chdir(target)
    os.environ["OLDPWD"] = before
    if not quiet:
        print(os.getcwd())


def _pwd(_arguments: str, _scope) -> str:
    return os.getcwd()


def _env(arguments: str, _scope):
    if not arguments:
        return dict(os.environ)
    name, sign, value = re.match(r"([^\s=]*)\s*(=?)\s*(.*)", arguments).groups()
    if sign or value:
        os.environ[name] = value
        return print(f"env: {name}={value}")
    if name not in os.environ:
        raise UsageError(f"There is no environment variable {name}; `%env {name}=VALUE` sets it.")
    return os.environ[name]


def _set_env(arguments: str, scope):
    if not re.search(r"[\s=]", arguments):
        raise UsageError("`%set_env NAME VALUE` sets an environment variable; `%env NAME` shows one.")
    return _env(arguments, scope)


def _who_ls(arguments: str, scope) -> list:
    """Names of the session's variables; of those of these types, when some are given."""
    kinds = arguments.split()
    names = sorted([name for name in list(scope.session) if type(name) is str and name[:1] != "_"])
    return [name for name in names if not kinds or type_name(type(scope.session[name])) in kinds]


def _who(arguments: str, scope) -> None:
    print("\t".join(_who_ls(arguments, scope)) or "There are no variables.")


def _whos(arguments: str, scope) -> None:
    values = {name: scope.session[name] for name in _who_ls(arguments, scope)}
    if not values:
        return print("There are no variables.")
    rows = [_HEADINGS, *[(name, type_name(type(value)), preview(value)) for name, value in values.items()]]
    widths = [max([len(row[column]) for row in rows]) for column in (0, 1)]
    for name, kind, value in rows:
        print(f"{name:<{widths[0]}}  {kind:<{widths[1]}}  {value}")


def _inspect(detailed: bool, arguments: str, scope) -> None:
    print(describe(arguments.strip("? "), detailed or "??" in arguments, scope.variables()))


# ── programs ────────────────────────────────────────────────────────────────────────────────────────────────────


def _run(arguments: str, scope) -> None:
    """Runs a file, or with `-m` a module, in the session's variables, as its `__main__`."""
    program = words(arguments)
    while program and program[0] in ("-i", "-e", "-n", "-G"):
        program.pop(0)
    run = _run_module if program[:1] == ["-m"] else _run_file
    program = program[run is _run_module :]
    if not program or program[0].startswith("-"):
        raise UsageError("`%run FILE.py [arguments]` or `%run -m MODULE [arguments]` runs a program.")
    argv, sys.argv = sys.argv, program
    folder = os.path.dirname(os.path.abspath(program[0])) if run is _run_file else ""
    sys.path.insert(0, folder)
    try:
        run(program[0], scope.session)
    except SystemExit as error:
        # A program may exit, as long as it does so in success.
        if error.code not in (None, 0):
            raise
    finally:
        sys.argv = argv
        if folder in sys.path:
            sys.path.remove(folder)


def _run_file(path: str, session: dict) -> None:
    path = os.path.expanduser(path)
    if path.endswith(".ipynb"):
        raise UsageError(f"`%run` takes Python: `!jupyter nbconvert --to script {path}` makes a .py of it.")
    if not os.path.exists(path) and os.path.exists(path + ".py"):
        path += ".py"
    with open(path, "rb") as file:
        code = compile(file.read(), path, "exec", dont_inherit=True)
    before = {name: session[name] for name in ("__file__", "__name__") if name in session}
    session.update(__file__=path, __name__="__main__")
    try:
        exec(code, session)
    finally:
        session.pop("__file__", None)
        session.update(before)


def _run_module(name: str, session: dict) -> None:
    from runpy import run_module

    found = run_module(name, run_name="__main__")
    session.update({name: value for name, value in found.items() if not name.startswith("__")})


LINE = {
    **{name: partial(_command, command) for name, command in _SHELL.items()},
    **dict.fromkeys(("conda", "mamba", "micromamba"), _conda),
    **dict.fromkeys(("pinfo", "pdoc", "pdef"), partial(_inspect, False)),
    **dict.fromkeys(("pinfo2", "psource", "pfile"), partial(_inspect, True)),
    **dict.fromkeys(("sx", "system"), lines),
    "matplotlib": _matplotlib,
    "cd": _cd,
    "pwd": _pwd,
    "env": _env,
    "set_env": _set_env,
    "who_ls": _who_ls,
    "who": _who,
    "whos": _whos,
    "run": _run,
}
"""Line magics by name."""
