"""Modules of the session's own folder, as they are at the moment of their import.

Python trusts compiled modules and folder listings by time stamps that are too coarse for a program which writes a
module and imports or reloads it at once. Inside the work folder a module is always compiled from its text, and the
folder is always looked at. What is installed below it (`site-packages`) is imported as ever.
"""

from __future__ import annotations

from .private import builtins as __builtins__

import sys
from importlib.machinery import (
    BYTECODE_SUFFIXES,
    EXTENSION_SUFFIXES,
    SOURCE_SUFFIXES,
    ExtensionFileLoader,
    FileFinder,
    SourceFileLoader,
    SourcelessFileLoader,
)
from os import sep
from os.path import isdir, realpath

INSTALLED = ("site-packages", "dist-packages")


def loaders(source) -> tuple:
    """What a finder loads modules by; `source` is the loader of their texts."""
    return (
        (ExtensionFileLoader, EXTENSION_SUFFIXES),
        (source, SOURCE_SUFFIXES),
        (SourcelessFileLoader, BYTECODE_SUFFIXES),
    )


def install(folder: str) -> None:
    """Holds for imports from this folder and those below it, from now on."""
    root = realpath(folder)

    def finder(path: str):
        place = realpath(path)
        if not isdir(place):
            raise ImportError
        if place != root and not place.startswith(root + sep):
            raise ImportError
        if any([part in INSTALLED for part in place[len(root) :].split(sep)]):
            raise ImportError
        return _Finder(path, *loaders(_Loader))

    sys.path_hooks.insert(0, finder)


class _Finder(FileFinder):
    def find_spec(self, fullname, target=None):
        self.invalidate_caches()
        return FileFinder.find_spec(self, fullname, target)


class _Loader(SourceFileLoader):
    def get_code(self, fullname):
        path = self.get_filename(fullname)
        return self.source_to_code(self.get_data(path), path)
