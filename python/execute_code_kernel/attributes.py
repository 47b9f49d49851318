"""Modes and times of files by descriptor, where they cannot be set by path.

Landlock says which files can be opened, not whose modes, owners, times and attributes are changed by their paths: in
the reduced tier all of that is refused by the filter of system calls, and `os.chmod` and `os.utime` open the file
first. Of a file that cannot be opened for reading they are refused, as are those of other programs.
"""

from __future__ import annotations

from .private import builtins as __builtins__

import os
from posix import chmod as _chmod
from posix import utime as _utime


def set_by_descriptor() -> None:
    """Holds for this process and those that it forks."""
    os.chmod = chmod
    os.utime = utime
    os.supports_fd = os.supports_fd | {chmod, utime}
    os.supports_dir_fd = os.supports_dir_fd | {chmod, utime}
    os.supports_follow_symlinks = os.supports_follow_symlinks | {chmod, utime}


def chmod(path, mode, *, dir_fd=None, follow_symlinks=True):
    """As `os.chmod` of Python; links themselves have no mode."""
    return _opened(path, dir_fd, follow_symlinks, lambda file: _chmod(file, mode))


def utime(path, times=None, *, dir_fd=None, follow_symlinks=True, **options):
    """As `os.utime` of Python; the times of links themselves are not set."""
    return _opened(path, dir_fd, follow_symlinks, lambda file: _utime(file, times, **options))


def _opened(path, dir_fd, follow_symlinks: bool, change) -> None:
    if type(path) is int:
        return change(path)
    links = 0 if follow_symlinks else os.O_NOFOLLOW
    file = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC | links, dir_fd=dir_fd)
    try:
        return change(file)
    finally:
        os.close(file)
