"""The session's own packages, which an installer beside the session puts into a folder that is read-only here."""

from __future__ import annotations

from .private import builtins as __builtins__

import sys
from importlib import invalidate_caches
from importlib.machinery import FileFinder, SourceFileLoader
from os.path import basename

from .modules import INSTALLED, loaders

_folder: str | None = None


def find_in(folder: str) -> None:
    """They come before the interpreter's from now on. The folder need not be there yet."""
    global _folder
    _folder = folder
    at = next((i for i, entry in enumerate(sys.path) if basename(entry) in INSTALLED), len(sys.path))
    sys.path.insert(at, folder)
    # Python would remember that there is no such folder.
    sys.path_importer_cache[folder] = FileFinder(folder, *loaders(SourceFileLoader))


def changed() -> None:
    """Something was installed: it can be imported at once, with what its `.pth` files add to the path."""
    invalidate_caches()
    if _folder is not None:
        from site import addsitedir

        addsitedir(_folder)
