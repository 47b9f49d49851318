"""Fingerprints of values: numbers that change with what a value holds, and with which objects these are, where they can
change: an equal one in the place of another is a change.

A fingerprint is bounded: a close one takes in 2,000 parts, and 1 MiB of an array; a brief one 48 parts, and 4 KiB. A
change beyond the bound, or inside an object that keeps its state out of sight, goes unnoticed; `out_of_sight` tells
which those are. No code of a value's type is run.
"""

from __future__ import annotations

from .private import builtins as __builtins__

from array import array
from collections import Counter, OrderedDict, defaultdict, deque
from io import BytesIO, StringIO
from itertools import islice
from marshal import dumps as _exactly
from types import BuiltinFunctionType, CellType, FunctionType, GetSetDescriptorType, MemberDescriptorType, MethodType

from .previews import instance_dict, module_name, tabular
from .private import MODULES

CLOSE = 2000
BRIEF = 48
"""Parts."""
DEPTH = 4
_HASHED_CHARS = 1_000_000
_SAMPLE = 4096
_CLOSE_BYTES = 1024 * 1024
_BLOCKS = 32


def _ids(*types) -> frozenset:
    """Types by identity: looking one up by itself would ask its metaclass for a hash, which session code may be."""
    return frozenset(map(id, types))


NUMBERS = _ids(int, float, bool, complex, type(None))
TEXTS = _ids(str, bytes)
_SCALARS = NUMBERS | TEXTS
FIXED = _ids(BuiltinFunctionType, range, slice, type(...), type(NotImplemented), GetSetDescriptorType)
_METHODS = FIXED | _ids(FunctionType, MemberDescriptorType, staticmethod, classmethod, property)
"""What classes have in them, and is compared by its identity."""
_CACHES = ("_abc_impl", "__slotnames__")
"""Attributes of classes that change when the class is used."""
_MEMORY_FILES = _ids(StringIO, BytesIO)
_SETS = _ids(set, frozenset)
_ORDERED = _ids(deque, defaultdict, OrderedDict, Counter)
_BYTES = _ids(bytearray, array)
_HIDING = _ids(set, deque, bytearray, array)
"""What derives from these has items that are not looked at."""
_NOTHING = object()
"""In place of what is not set."""

_type_dict = type.__dict__["__dict__"].__get__
_type_mro = type.__dict__["__mro__"].__get__
_type_flags = type.__dict__["__flags__"].__get__
_LIST_LIKE, _TUPLE_LIKE, _DICT_LIKE = 1 << 25, 1 << 26, 1 << 29
_EXCEPTION = 1 << 30
"""The flags of types that derive from these. Source: Py_TPFLAGS_LIST_SUBCLASS and the like."""


def out_of_sight(value, close: bool) -> list | None:
    """Objects in a value whose insides no look reaches, a close one or a brief one; None: there is more than it looks
    at."""
    unseen: list = []
    budget = [CLOSE if close else BRIEF, unseen]
    fingerprint(value, DEPTH, budget)
    return None if budget[0] <= 0 else unseen


def look_closely(value) -> int:
    """A close fingerprint."""
    return fingerprint(value, DEPTH, [CLOSE])


def fingerprint_of_text(value):
    length = len(value)
    if length <= _HASHED_CHARS:
        return length, hash(value)
    # To hash it takes long. One of the same address is mostly the same one.
    return length, id(value), value[:: length // _SAMPLE]


def fingerprint(value, depth: int, budget: list) -> int:
    """A number that changes with the value's content, as far as `budget` parts reach. A second entry of the budget is a
    list, for objects that cannot be looked into."""
    kind = type(value)
    kind_id = id(kind)
    if (kind is list or kind is dict) and budget[0] > 0:
        return fingerprint_of_items(value, kind, id(value), depth, budget)
    if kind is tuple and budget[0] > 0:
        return fingerprint_of_items(value, kind, kind, depth, budget)
    if kind_id in _SCALARS:
        budget[0] -= 1
        return hash((kind_id, _exactly(value, 2) if kind_id in NUMBERS else fingerprint_of_text(value)))
    if kind_id in FIXED or budget[0] <= 0:
        budget[0] -= 1
        return id(value)
    if kind_id in _ORDERED:
        return fingerprint_of_items(value, kind, id(value), depth, budget)
    if kind_id in _SETS:
        items = list(islice(value, max(budget[0], 1)))
        budget[0] -= max(len(value), 1)
        total = 0
        for item in items:
            total ^= fingerprint(item, 0, [1, *budget[1:]]) * 0x9E3779B1
        return hash((kind_id, id(value) if kind is set else 0, len(value), total))
    if kind_id in _BYTES:
        view = memoryview(value).cast("B")
        if len(view) > 2 * _SAMPLE:
            _miss(value, budget)
        return hash((id(value), len(view), bytes(view[:_SAMPLE]), bytes(view[-_SAMPLE:])))
    if kind is FunctionType:
        return _of_function(value, depth, budget)
    if kind is MethodType:
        return hash((id(value.__func__), fingerprint(value.__self__, depth and depth - 1, budget)))
    if issubclass(kind, type):
        return _of_class(value, depth, budget)
    if kind_id in _MEMORY_FILES:
        return _of_memory_file(value, kind, budget)
    table = tabular(value)
    if table is not None:
        return hash((id(value), tuple(table[0]), table[1], _table_content(value, budget)))
    return _of_instance(value, kind, depth, budget)


def _miss(value, budget: list) -> None:
    if len(budget) > 1:
        budget[1].append(value)


def _of_instance(value, kind: type, depth: int, budget: list) -> int:
    """By its attributes, its slots, and its items, where it derives from a list, a tuple or a dictionary."""
    attributes = instance_dict(value)
    slots = _slots(value, kind, budget)
    items = _plain_items(value, _type_flags(kind), budget[0])
    if depth == 0 or (attributes is None and items is None and not slots):
        budget[0] -= 1
        _miss(value, budget)
        return id(value)
    if items is None and not slots:
        return fingerprint_of_items(attributes, dict, id(value), depth, budget)
    parts = [part for part in (attributes, slots, items) if part is not None]
    return hash((id(value), *[fingerprint_of_items(part, type(part), kind, depth, budget) for part in parts]))


def _slots(value, kind: type, budget: list) -> list:
    """What is in the slots that classes of cells have. Those of libraries may be caches, and change with every use."""
    found = []
    for base in _type_mro(kind):
        attributes = _type_dict(base)
        if id(base) in _HIDING:
            _miss(value, budget)
        if "__slots__" not in attributes:
            continue
        members = [one for one in list(attributes.values()) if type(one) is MemberDescriptorType]
        if members and module_name(base) != "__main__":
            _miss(value, budget)
            continue
        for member in members:
            try:
                found.append(member.__get__(value))
            except AttributeError:
                found.append(_NOTHING)  # It is not set.
    return found


def _plain_items(value, flags: int, bound: int):
    """A copy of the items of what derives from a list, a tuple or a dictionary, by no code of its own; of a long one its
    ends, of a large dictionary its length."""
    if flags & _DICT_LIKE:
        return dict.copy(value) if dict.__len__(value) <= bound else [dict.__len__(value)] * (bound + 1)
    if flags & _EXCEPTION:
        return BaseException.args.__get__(value)
    for flag, base in ((_LIST_LIKE, list), (_TUPLE_LIKE, tuple)):
        if flags & flag:
            length = base.__len__(value)
            if length <= bound:
                return base.__getitem__(value, slice(None))
            ends = slice(bound), slice(-bound, None)
            return [length, *base.__getitem__(value, ends[0]), *base.__getitem__(value, ends[1])]
    return None


def _of_function(function: FunctionType, depth: int, budget: list) -> int:
    """By what it encloses, its defaults and its attributes."""
    budget[0] -= 1
    closure, attributes = function.__closure__, function.__dict__
    defaults, keywords = function.__defaults__, function.__kwdefaults__
    if not (closure or attributes or defaults or keywords):
        return hash((id(function), id(function.__code__)))
    if depth == 0:
        _miss(function, budget)
        return id(function)
    parts = [*map(_content, closure or ()), defaults, keywords, attributes]
    return hash((id(function), id(function.__code__), *[fingerprint(part, depth - 1, budget) for part in parts]))


def _content(cell: CellType):
    try:
        return cell.cell_contents
    except ValueError:
        return _NOTHING  # It is empty.


def _of_class(kind: type, depth: int, budget: list) -> int:
    """By its attributes, when it is a cell's."""
    budget[0] -= 1
    if module_name(kind) != "__main__":
        return id(kind)
    if depth == 0:
        _miss(kind, budget)
        return id(kind)
    parts = [
        id(value) if id(type(value)) in _METHODS else fingerprint(value, depth - 1, budget)
        for name, value in list(_type_dict(kind).items())
        if name not in _CACHES
    ]
    return hash((id(kind), *parts))


def _of_memory_file(value, kind: type, budget: list) -> int:
    """By its content, and its position."""
    budget[0] -= 1
    try:
        position, size = kind.tell(value), kind.__sizeof__(value)
        if size > _CLOSE_BYTES:
            _miss(value, budget)
            return hash((id(value), position, size))
        return hash((id(value), position, kind.getvalue(value)))
    except ValueError:
        return id(value)  # It is closed.


def fingerprint_of_items(value, kind: type, owner, depth: int, budget: list) -> int:
    """The fingerprint of what a sequence or a mapping holds, and of its owner."""
    length = len(value)
    left = budget[0]
    whole = length <= left or length <= 2
    # Copies, each made in one step: other threads may change the container.
    if kind is list or kind is tuple or kind is deque:
        keys = ()
        items = tuple(value) if whole else _ends(value, kind, left)
    elif whole:
        keys, items = tuple(dict.keys(value)), tuple(dict.values(value))
        if kind is OrderedDict and _SCALARS.issuperset(map(id, map(type, keys))):
            owner = hash((owner, *OrderedDict.keys(value)))  # It has an order of its own.
    else:
        keys, items = _ends(dict.keys(value), kind, left), _ends(dict.values(value), kind, left)
    # Equal numbers of different types have the same hash.
    kinds = tuple(map(id, map(type, items)))
    plain_keys = _SCALARS.issuperset(map(id, map(type, keys))) if keys else True
    # Ordinary numbers and texts are taken in one step.
    if plain_keys and _SCALARS.issuperset(kinds):
        budget[0] = left - (length or 1)
        return hash((owner, length, kinds, keys, items, *_exact_numbers(keys, items)))
    if depth == 0:
        _miss(value, budget)
        return hash((owner, length))
    budget[0] = left - 1 - length
    if not plain_keys:
        keys = tuple([key if id(type(key)) in _SCALARS else fingerprint(key, 1, budget) for key in keys])
    below = depth - 1
    parts = [item if id(type(item)) in _SCALARS else fingerprint(item, below, budget) for item in items]
    return hash((owner, length, kinds, keys, *parts, *_exact_numbers(keys, items)))


def _exact_numbers(*sequences: tuple):
    """Numbers as bytes: some that differ have the same hash (-1 and -2), and some that are equal differ (0.0 and -0.0)."""
    for values in sequences:
        numbers = [value for value in values if id(type(value)) in NUMBERS]
        if numbers:
            yield _exactly(numbers, 2)


def _ends(value, kind: type, bound: int) -> tuple:
    """As many items as the bound allows, from both ends: what is added last lies at the end."""
    half = bound // 2 if bound > 2 else 1
    if kind is list or kind is tuple:
        return (*value[:half], *value[-half:])
    return (*islice(value, half), *islice(reversed(value), half))


def _table_content(value, budget: list) -> int:
    """A fingerprint of an array's or a table's cells: those that are few, else a sample. Known libraries only."""
    array_type = getattr(MODULES.get("numpy"), "ndarray", None)
    if array_type is None:
        return 0
    try:
        blocks, labels = _storage(value, array_type)
        return hash((*map(id, labels), *[_block_content(block, array_type, budget) for block in blocks[:_BLOCKS]]))
    except Exception:
        _miss(value, budget)
        return 0


def _storage(value, array_type) -> tuple:
    """The arrays that hold a value's cells, and the objects that hold its labels."""
    if isinstance(value, array_type):
        return [value], []
    manager = (instance_dict(value) or {}).get("_mgr")
    if manager is None:
        return [], []
    return [block.values for block in manager.blocks], manager.axes


def _block_content(block, array_type, budget: list):
    if not isinstance(block, array_type):
        # pandas' own arrays: around one of numpy, or around immutable storage that a change replaces.
        inner = getattr(block, "_ndarray", None)
        if inner is None:
            return (id(block), *map(id, (instance_dict(block) or {}).values()))
        block = inner
    bound = _SAMPLE if budget[0] <= BRIEF else _CLOSE_BYTES
    if block.dtype.hasobject:
        cells = block.reshape(-1)
        items = tuple(cells) if block.size <= budget[0] else _ends(cells, list, budget[0])
        budget[0] -= block.size
        return tuple([fingerprint(item, 1, budget) for item in items])
    if block.nbytes > bound:
        budget[0] = 0
    return hash(_sampled(block, bound).tobytes())


def _sampled(block, bound: int):
    """An evenly spaced part of an array that has at most about `bound` bytes; copies nothing that is larger."""
    if block.flags.c_contiguous or block.flags.f_contiguous:
        flat = block.reshape(-1) if block.flags.c_contiguous else block.T.reshape(-1)
        return flat[:: max(-(-block.nbytes // bound), 1)]
    for axis in range(block.ndim):
        step = min(-(-block.nbytes // bound), block.shape[axis])
        if step > 1:
            block = block[(slice(None),) * axis + (slice(None, None, step),)]
    return block
