"""numpy's arrays: their memory goes beside the pickle, and arrays that share memory share it again.

An array that owns its memory is its bytes. A view of memory that nothing else captured uses is an array of its own;
when other arrays use the same memory, it is a place in the array that owns it. So are arrays of derived classes, masked
ones among them, with their attributes. What reduces itself in a way of its own, and may share memory, is told of.
"""

from __future__ import annotations

from ..private import builtins as __builtins__

from pickle import PickleBuffer

from ..previews import derives, instance_dict, lookup
from ..private import MODULES
from .files import same_file, state_of_file
from .reasons import Refused

_PLAIN_KINDS = "biufcmMSUV"


def recipe_for(kind: type):
    numpy = MODULES.get("numpy")
    if numpy is None:
        return None
    if derives(kind, numpy.void):
        return _row
    if derives(kind, getattr(numpy, "memmap", None)):
        return _memmap
    return _array if derives(kind, numpy.ndarray) else None


def _array(pickler, value):
    numpy, kind = MODULES["numpy"], type(value)
    owner = _owner(value)
    place = _place(pickler, value, owner)
    plain = numpy.ndarray
    masked = getattr(MODULES.get("numpy.ma"), "MaskedArray", None)
    ways = ("__reduce__", "__reduce_ex__", "__setstate__")
    if kind is not masked and any([lookup(kind, name) is not plain.__dict__.get(name, lookup(plain, name)) for name in ways]):
        _tell(pickler, owner, "an array has its own memory now")
        return NotImplemented
    if place is not None:
        made = place
    elif value.dtype.hasobject or value.dtype.kind not in _PLAIN_KINDS:
        _tell(pickler, owner, "an array has its own memory now")
        if kind is not plain or value.flags.writeable:
            return NotImplemented
        maker, arguments, state = value.__reduce__()
        return (maker, arguments, state, None, None, set_read_only)
    else:
        made = _bytes_of(value.view(plain))
    if kind is plain:
        return made
    attributes = {name: item for name, item in (instance_dict(value) or {}).items() if name != "_mmap"}
    return (derived_array, (kind, *made), attributes, None, None, set_array_attributes)


def _bytes_of(value):
    numpy = MODULES["numpy"]
    order = "C" if value.flags.c_contiguous or not value.nbytes else "F" if value.flags.f_contiguous else None
    if order is None:
        # The axes by their distances in memory, as numpy's own copies keep them.
        order = tuple(sorted(range(value.ndim), key=lambda axis: (-abs(value.strides[axis]), axis)))
        flat = value.transpose(order).ravel()
    else:
        flat = value.ravel(order)
    flat = flat.view(numpy.uint8) if value.nbytes else b""
    return (array, (PickleBuffer(flat), value.dtype, value.shape, order, bool(value.flags.writeable)))


def _tell(pickler, owner, words: str) -> None:
    if id(owner) in pickler.registry.shared_memory:
        pickler.notes.add(words)


def _row(pickler, value):
    """A row of a structured array is a view of it, and becomes a copy."""
    if value.base is not None:
        pickler.notes.add("a row of an array has its own memory now")
    return NotImplemented


def _owner(value):
    """The array whose memory it is: itself, or the one that it is a view of."""
    array = MODULES["numpy"].ndarray
    owner = value
    while derives(type(owner.base), array):
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
    if value is not owner and id(owner) in registry.shared_memory:
        contiguous = owner.flags.c_contiguous or owner.flags.f_contiguous
        if contiguous and owner.nbytes and not owner.dtype.hasobject and not value.dtype.hasobject:
            offset = value.__array_interface__["data"][0] - owner.__array_interface__["data"][0]
            return (array_view, (owner, value.dtype, value.shape, value.strides, offset, bool(value.flags.writeable)))
        pickler.notes.add("an array has its own memory now")
    if owner.base is not None and value.nbytes:
        pickler.notes.add("an array over other memory has its own now")
    return None


def array(data, dtype, shape, order, writeable):
    import numpy

    if type(order) is tuple:
        made = numpy.empty([shape[axis] for axis in order], dtype)
        bytes_of_it, made = made, made.transpose(numpy.argsort(order))
        order = "C"
    else:
        bytes_of_it = made = numpy.empty(shape, dtype, order)
    if made.nbytes:
        bytes_of_it.reshape(-1, order=order).view(numpy.uint8)[:] = numpy.frombuffer(data, numpy.uint8)
    if not writeable:
        made.flags.writeable = False
    return made


def derived_array(kind, make, arguments):
    return make(*arguments).view(kind)


def set_array_attributes(value, attributes):
    vars(value).update(attributes)


def set_read_only(value, state):
    value.__setstate__(state)
    value.flags.writeable = False


def array_view(owner, dtype, shape, strides, offset, writeable):
    import numpy

    owner = owner.view(numpy.ndarray)
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
        return _array(pickler, value)
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


MAKERS = (array, array_view, derived_array, memmap, set_array_attributes, set_read_only)
