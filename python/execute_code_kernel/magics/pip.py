"""`pip install`, which the platform does: the session itself may have no network, and cannot write its packages."""

from __future__ import annotations

from ..private import builtins as __builtins__

import sys

from ..private import MODULES
from .replacements import UsageError

_SHELL = ("|", "&", ";", "$", "`", "\n")
_SAID_ANYWAY = frozenset(
    ("-q", "-qq", "--quiet", "-y", "--user", "--no-input", "--no-cache-dir", "--disable-pip-version-check")
)
_UPGRADES = ("-U", "--upgrade")


def install(arguments: str) -> bool:
    """Installs what `pip install` names. False when it says what only pip itself, or the shell, knows: files, other
    options. Raises UsageError when it fails."""
    if any([sign in arguments for sign in _SHELL]):
        return False
    from shlex import split

    try:
        command, *words = split(arguments)
    except ValueError:
        return False
    options = {word for word in words if word.startswith("-")}
    names = [word for word in words if word not in options]
    if command != "install" or not names or not options <= _SAID_ANYWAY.union(_UPGRADES):
        return False
    if any(["/" in name or name.endswith((".whl", ".gz", ".zip")) for name in names]):
        return False
    try:
        installed = MODULES["execute_code"].install(*names, upgrade=not options.isdisjoint(_UPGRADES))
    except RuntimeError as error:
        raise UsageError(str(error)) from None
    if "-q" not in options and "--quiet" not in options and "-qq" not in options:
        said = f"Installed {', '.join(installed)}." if installed else "Everything was there already."
        sys.stdout.write(f"{said}\n")
    return True
