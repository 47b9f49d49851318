"""Line and cell magics by name: functions of the arguments, in which variables have been replaced, of the text below a
cell magic, and of the scope."""

from __future__ import annotations

from ..private import builtins as __builtins__

import os
import re
import sys
from functools import partial

from ..previews import preview, type_name
from ..private import MODULES
from .commands import SHELL, lines, run, shell
from .help import describe
from .replacements import UsageError

# ── programs ────────────────────────────────────────────────────────────────────────────────────────────────────

_COMMANDS = {
    **{name: name for name in "ls cat mkdir rmdir rm mv cp ln head tail touch echo grep wc find tree pip pip3".split()},
    **dict.fromkeys(("ll", "lf", "ldir"), "ls -l"),
    **dict.fromkeys(("more", "less", "pycat"), "cat"),
    "man": "MANPAGER=cat man",
}
_SCRIPTS = {
    **{name: name for name in "sh perl ruby node pypy python2".split()},
    **dict.fromkeys(("python", "python3"), sys.executable),
    "bash": SHELL,
    "script": None,
}
_SCRIPT_OPTIONS = r"(?:--(?:out|err)[ =]\s*\w+\s*|--(?:bg|no-raise-error)\b\s*)*"


def _command(command: str, arguments: str, scope) -> None:
    shell(f"{command} {arguments}", scope)


def _conda(arguments: str, _scope) -> None:
    options = r"(?<!\S)(?:-y|--yes|-q|--quiet|(?:-c|--channel|-n|--name)[ =]\S+)(?!\S)"
    wanted = " ".join(re.sub(options, "", arguments).split())
    raise UsageError(f"`%conda` is not here: use `%pip {wanted or 'install NAME'}`.")


def _script(program, arguments: str, text: str, scope) -> None:
    """Runs a program with the text as its input. Raises CalledProcessError when it fails."""
    import tempfile

    options = re.match(_SCRIPT_OPTIONS, arguments).group()
    taken = dict(re.findall(r"--([\w-]+)(?:[ =]\s*(\w+))?", options))
    command = [*([program] if program else []), *_words(arguments[len(options) :])]
    if not command:
        raise UsageError("`%%script PROGRAM [arguments]` runs a program with the cell below as its input.")
    if "bg" in taken:
        raise UsageError("`--bg` is not here: use `import subprocess; subprocess.Popen(['bash', '-c', '…'])`.")
    written = {option: bytearray() for option in ("out", "err") if option in taken}
    with tempfile.TemporaryFile() as script:
        script.write(text.encode("utf-8", "surrogateescape"))
        script.seek(0)
        try:
            status = run(command, scope, script.fileno(), **{option: part.extend for option, part in written.items()})
        except FileNotFoundError:
            raise UsageError(f"`{command[0]}` is not installed here, or not on PATH.") from None
    for option, part in written.items():
        scope.session[taken[option]] = part.decode("utf-8", "replace")
    if status != 0 and "no-raise-error" not in taken:
        from subprocess import CalledProcessError

        raise CalledProcessError(status, " ".join(command))


def _run(arguments: str, scope) -> None:
    """Runs a file, or with `-m` a module, in the session's variables, as its `__main__`."""
    words = _words(arguments)
    is_module = words[:1] == ["-m"]
    program = words[is_module:]
    if not program or program[0].startswith("-"):
        raise UsageError("`%run FILE.py [arguments]` or `%run -m MODULE [arguments]` runs a program.")
    argv, sys.argv = sys.argv, program
    folder = "" if is_module else os.path.dirname(os.path.abspath(program[0]))
    sys.path.insert(0, folder)
    try:
        (_run_module if is_module else _run_file)(program[0], scope.session)
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


def _words(text: str) -> list:
    """A command line's words, as the shell splits them."""
    from shlex import split

    try:
        return split(text, comments=True)
    except ValueError as error:
        raise UsageError(f"`{text}` cannot be split into words: {error}.") from None


# ── the session ─────────────────────────────────────────────────────────────────────────────────────────────────

_RICH = {
    **dict.fromkeys(("html", "HTML"), "text/html"),
    **dict.fromkeys(("svg", "SVG"), "image/svg+xml"),
    **dict.fromkeys(("javascript", "js"), "application/javascript"),
    "markdown": "text/markdown",
    "latex": "text/latex",
}


def _cd(arguments: str, _scope) -> None:
    quiet, folder = re.match(r"(?s)(-q(?:\s+|$))?(.*)", arguments).groups()
    if not set(folder).isdisjoint("\"'#"):
        folder = "".join(_words(folder)[:1])
    target = os.environ.get("OLDPWD", "") if folder == "-" else os.path.expanduser(folder or "~")
    if not target:
        raise UsageError("`%cd -` goes back, but there is no folder before this one; `%cd DIR` goes there.")
    before = os.getcwd()
    os.chdir(target)
    os.environ["OLDPWD"] = before
    if not quiet:
        print(os.getcwd())


def _env(arguments: str, _scope):
    if not arguments:
        return dict(os.environ)
    name, sign, value = re.match(r"(?s)([^\s=]*)\s*(=?)\s*(.*)", arguments).groups()
    if sign or value:
        os.environ[name] = value
        return print(f"env: {name}={value}")
    if name not in os.environ:
        raise UsageError(f"There is no environment variable {name}; `%env {name}=VALUE` sets it.")
    return os.environ[name]


def _names(arguments: str, scope) -> list:
    """Names of the session's variables; of those of these types, when some are given."""
    kinds = arguments.split()
    names = sorted([name for name in list(scope.session) if type(name) is str and name[:1] != "_"])
    return [name for name in names if not kinds or type_name(type(scope.session[name])) in kinds]


def _who(arguments: str, scope) -> None:
    print("\t".join(_names(arguments, scope)) or "There are no variables.")


def _whos(arguments: str, scope) -> None:
    rows = [("Variable", "Type", "Value")]
    for name in _names(arguments, scope):
        value = scope.session[name]
        rows.append((name, type_name(type(value)), preview(value)))
    widths = [max([len(row[column]) for row in rows]) for column in (0, 1)]
    for name, kind, value in rows:
        print(f"{name:<{widths[0]}}  {kind:<{widths[1]}}  {value}")


def _write_file(arguments: str, text: str, _scope) -> None:
    words = _words(arguments)
    paths = [word for word in words if word not in ("-a", "--append")]
    if len(paths) != 1:
        raise UsageError("`%%writefile [-a] PATH` writes the cell below it to one file.")
    path, mode = os.path.expanduser(paths[0]), "w" if words == paths else "a"
    verb = "Appending to" if mode == "a" else "Overwriting" if os.path.exists(path) else "Writing"
    with open(path, mode, encoding="utf-8") as file:
        file.write(text)
    print(f"{verb} {path}")


def _rich(mime_type: str, _arguments: str, text: str, _scope) -> None:
    plain = {"text/plain": text} if mime_type in ("text/markdown", "text/latex") else {}
    MODULES["execute_code"].display({**plain, mime_type: text}, raw=True)


LINE = {
    **{name: partial(_command, command) for name, command in _COMMANDS.items()},
    **dict.fromkeys(("conda", "mamba", "micromamba"), _conda),
    **dict.fromkeys(("sx", "system"), lines),
    **dict.fromkeys(("env", "set_env"), _env),
    **dict.fromkeys(("pinfo", "pdoc", "pdef"), lambda name, scope: print(describe(name, False, scope.variables))),
    **dict.fromkeys(("pinfo2", "psource", "pfile"), lambda name, scope: print(describe(name, True, scope.variables))),
    # Open figures are always captured at the end of a cell.
    "matplotlib": lambda _, scope: None,
    "cd": _cd,
    "pwd": lambda _, scope: os.getcwd(),
    "who_ls": _names,
    "who": _who,
    "whos": _whos,
    "run": _run,
}
CELL = {
    **{name: partial(_script, program) for name, program in _SCRIPTS.items()},
    **{name: partial(_rich, mime_type) for name, mime_type in _RICH.items()},
    **dict.fromkeys(("writefile", "file"), _write_file),
    **dict.fromkeys(("sx", "system", "!"), lambda first, text, scope: lines(f"{first}\n{text}", scope)),
}
