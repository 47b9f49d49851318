"""numpy's arrays: their memory goes beside the pickle, and arrays that share memory share it again.

An array that owns its memory is its bytes. A view of memory that nothing else captured uses is an array of its own;
when other arrays use the same memory, it is a place in the array that owns it.
"""

from __future__ import annotations

from ..private import builtins as __builtins__

from pickle import PickleBuffer

from ..previews import derives
from ..private import MODULES
from .files import same_file, state_of_file
from .reasons import Refused

_PLAIN_KINDS = "biufcmMSUV"


def recipe_for(kind: type):
    numpy = MODULES.get("numpy")
    if numpy is None:
        return None
    if kind is numpy.ndarray:
        return _array
    if derives(kind, getattr(numpy, "memmap", None)):
        return _memmap
    return None


def _array(pickler, value):
    if value.dtype.hasobject or value.dtype.kind not in _PLAIN_KINDS:
        return NotImplemented
    place = _place(pickler, value, _owner(value))
    if place is not None:
        return place
    order = "C" if value.flags.c_contiguous or not value.flags.f_contiguous else "F"
    flat = value.ravel(order).view(MODULES["numpy"].uint8) if value.nbytes else b""
    return (array, (PickleBuffer(flat), value.dtype, value.shape, order, bool(value.flags.writeable)))


def _owner(value):
    """The array whose memory it is: itself, or the one that it is a view of."""
    kind = type(value)
    owner = value
    while type(owner.base) is kind:
        owner = owner.base
    return owner


def _place(pickler, value, owner):
    """Where the array lies in another one, when memory is shared; None when it is to be kept by itself."""
    from .registry import note

    registry = pickler.registry
    pickler.owners.add(id(owner))
    if pickler.root is not None:
        registry.arrays.setdefault(id(owner), {})[id(value)] = value
        registry._kept.append(owner)
    note(pickler, owner)
    if owner.base is not None and value.nbytes:
        pickler.notes.add("an array over other memory has its own now")
    if value is owner or id(owner) not in registry.shared_memory:
        return None
    if not (owner.flags.c_contiguous or owner.flags.f_contiguous) or not owner.nbytes:
        pickler.notes.add("an array has its own memory now")
        return None
    offset = value.__array_interface__["data"][0] - owner.__array_interface__["data"][0]
    return (array_view, (owner, value.dtype, value.shape, value.strides, offset, bool(value.flags.writeable)))


def array(data, dtype, shape, order, writeable):
    import numpy

    made = numpy.empty(shape, dtype, order)
    if made.nbytes:
        made.reshape(-1, order=order).view(numpy.uint8)[:] = numpy.frombuffer(data, numpy.uint8)
    if not writeable:
        made.flags.writeable = False
    return made


def array_view(owner, dtype, shape, strides, offset, writeable):
    import numpy

    flat = (owner if owner.flags.c_contiguous else owner.T).reshape(-1).view(numpy.uint8)
    # Dates have no buffers of their own kind.
    dates = dtype.kind in "mM"
    made = numpy.ndarray(shape, numpy.dtype("i8") if dates else dtype, flat, offset, strides)
    if dates:
        made = made.view(dtype)
    if not writeable:
        made.flags.writeable = False
    return made


def _memmap(pickler, value):
    if value.filename is None or value.base is None or type(value.base).__name__ != "mmap":
        return NotImplemented
    mode = value.mode
    if mode not in ("r", "r+", "w+", "c"):
        raise Refused("a file in memory cannot be captured")
    if mode == "c":
        raise Refused("a file in memory that is changed for itself cannot be captured")
    pickler.notes.add("it is the file's content")
    state = state_of_file(str(value.filename))
    return (memmap, (str(value.filename), value.dtype, "r" if mode == "r" else "r+", value.offset, value.shape, state[:2]))


def memmap(path, dtype, mode, offset, shape, state):
    import numpy

    same_file(path, state)
    return numpy.memmap(path, dtype, mode, offset, shape)


MAKERS = (array, array_view, memmap)
