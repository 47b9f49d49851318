"""The state of random number generators across a fork.

Python reseeds `random` in every forked process. A copy of a session that stands for the session itself (a snapshot,
its successor) gets the state back; one that is another session gets states of its own, which follow from the parent's
state and the name of the copy: distinct in each, and the same again when a seeded parent is forked again.

Generators that are variables of the session take part: `random.Random` and numpy's, by their own names only.
"""

from __future__ import annotations

from .private import builtins as __builtins__

from array import array
from types import ModuleType

try:
    from _blake2 import blake2b
except ImportError:
    from hashlib import blake2b

from .private import MODULES

_DIGEST_BYTES = 32


class States:
    """The states of all generators, as of now. What session code has put in place of them is left alone."""

    def __init__(self, namespace: dict, apart: bool) -> None:
        """`apart`: some of the copies will be other sessions."""
        self._random = _module("random")
        self._numpy = _module("numpy.random")
        self._own = [value for value in list(namespace.values()) if _is_generator(value, self._random, self._numpy)]
        self._state = None if self._random is None else _attempt(lambda: self._random.getstate())
        self._digest = _attempt(lambda: _digest(self._state)) if apart else None
        """Of `random`'s state: made once, however many copies there will be."""

    def put_back(self) -> None:
        """In the copy: as they were. Only `random` changes with a fork."""
        if self._state is not None:
            _attempt(lambda: self._random.setstate(self._state))

    def part(self, copy: str) -> None:
        """In the copy of this name: states of its own."""
        if self._state is not None:
            _attempt(lambda: self._random.seed(_mixed(self._digest, copy)))
        for number, generator in enumerate(self._own):
            _attempt(lambda: _part(generator, f"{copy}/{number}"))  # noqa: B023
        if self._numpy is not None:
            _attempt(lambda: _part_numpy(self._numpy, copy))


def _module(name: str):
    module = MODULES.get(name)
    return module if type(module) is ModuleType else None


def _attempt(function):
    try:
        return function()
    except Exception:
        return None


def _part_numpy(numpy, copy: str) -> None:
    state = numpy.get_state()
    numpy.seed(_words(_mixed((state[0], state[1].tobytes(), *state[2:]), copy)))


def _is_generator(value, random, numpy) -> bool:
    kind = type(value)
    if random is not None and kind is vars(random).get("Random"):
        return True
    if numpy is None:
        return False
    names = vars(numpy)
    return kind is names.get("Generator") or kind is names.get("RandomState")


def _part(generator, copy: str) -> None:
    if hasattr(generator, "getstate"):
        generator.seed(_mixed(generator.getstate(), copy))
        return
    bits = getattr(generator, "bit_generator", None)
    if bits is None:
        bits = generator._bit_generator
    bits.state = type(bits)(_mixed(_flat(bits.state), copy)).state


def _flat(state) -> tuple:
    """A bit generator's state, which holds dictionaries and arrays, as what can be written down."""
    if isinstance(state, dict):
        return tuple([(name, _flat(state[name])) for name in sorted(state)])
    return state.tobytes() if hasattr(state, "tobytes") else state


def _mixed(state, copy: str) -> int:
    return int.from_bytes(_digest((state, copy)), "big")


def _digest(value) -> bytes:
    return blake2b(repr(_packed(value)).encode(), digest_size=_DIGEST_BYTES).digest()


def _packed(state):
    """Hundreds of numbers, as `random` has them, take long to be written as text."""
    try:
        return tuple([array("L", part).tobytes() if type(part) is tuple else part for part in state])
    except (TypeError, OverflowError):
        return state


def _words(number: int) -> list[int]:
    """As a seed that numpy's older generators take."""
    return [number >> shift & 0xFFFFFFFF for shift in range(0, 256, 32)]
