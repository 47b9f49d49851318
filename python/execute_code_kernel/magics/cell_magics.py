"""Cell magics: functions of the arguments, in which variables have been replaced, of the text below, and of the scope."""

from __future__ import annotations

from ..private import builtins as __builtins__

import os
import re
import sys
from functools import partial

from .commands import SHELL, lines, run
from .line_magics import words
from .replacements import UsageError

_SCRIPTS = {
    "python": sys.executable,
    "python3": sys.executable,
    "bash": SHELL,
    **{name: name for name in "sh perl ruby node pypy python2".split()},
}
_SCRIPT_OPTIONS = r"(?:--(?:out|err)[ =]\s*\w+\s*|--(?:bg|no-raise-error)\b\s*)*"
_RICH = {
    "html": "text/html",
    "markdown": "text/markdown",
    "latex": "text/latex",
    "svg": "image/svg+xml",
    "javascript": "application/javascript",
    "js": "application/javascript",
}


def _script(program: str, arguments: str, body: str, scope) -> None:
    """Runs a program with the body as its input. Raises CalledProcessError when it fails."""
    import tempfile

    options = re.match(_SCRIPT_OPTIONS, arguments).group()
    taken = dict(re.findall(r"--(\w[\w-]*)(?:[ =]\s*(\w+))?", options))
    command = [*words(program), *words(arguments[len(options) :])]
    if not command:
        raise UsageError("`%%script PROGRAM [arguments]` runs a program with the cell below as its input.")
    if "bg" in taken:
        raise UsageError("`--bg` is not here: use `import subprocess; subprocess.Popen(['bash', '-c', '…'])`.")
    written = {option: bytearray() for option in ("out", "err") if option in taken}
    with tempfile.TemporaryFile() as script:
        script.write(body.encode("utf-8", "surrogateescape"))
        script.seek(0)
        try:
            sinks = {option: text.extend for option, text in written.items()}
            status = run(command, scope, script.fileno(), **sinks)
        except FileNotFoundError:
            raise UsageError(f"`{command[0]}` is not installed here, or not on PATH.") from None
    for option, text in written.items():
        scope.session[taken[option]] = text.decode("utf-8", "replace")
    if status != 0 and "no-raise-error" not in taken:
        from subprocess import CalledProcessError

        raise CalledProcessError(status, " ".join(command))


def _lines(arguments: str, body: str, scope):
    return lines(f"{arguments}\n{body}", scope)


def _write_file(arguments: str, body: str, _scope) -> None:
    given = words(arguments)
    paths = [word for word in given if word not in ("-a", "--append")]
    if len(paths) != 1:
        raise UsageError("`%%writefile [-a] PATH` writes the cell below it to one file.")
    path = os.path.expanduser(paths[0])
    verb, mode = ("Appending to", "a") if len(given) > 1 else ("Overwriting" if os.path.exists(path) else "Writing", "w")
    with open(path, mode, encoding="utf-8") as file:
        file.write(body)
    print(f"{verb} {path}")


def _rich(mime_type: str, _arguments: str, body: str, _scope) -> None:
    mime = {mime_type: body}
    if mime_type in ("text/markdown", "text/latex"):
        mime["text/plain"] = body
    sys.modules["execute_code"].display(mime, raw=True)


CELL = {
    **{name: partial(_script, program) for name, program in _SCRIPTS.items()},
    **{name: partial(_rich, mime_type) for name, mime_type in _RICH.items()},
    **dict.fromkeys(("writefile", "file"), _write_file),
    **dict.fromkeys(("sx", "system", "!"), _lines),
    "script": partial(_script, ""),
}
"""Cell magics by name."""
