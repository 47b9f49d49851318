"""Pickles of roots, and the blobs that hold them.

A root is a variable or a definition. Roots that belong together are pickled one after another by one pickler, so that
what they share is shared again; a class takes several pickles, its functions first. A blob is

    magic, length of the header, header (JSON), heads, pickles, buffers (each at a multiple of 64 bytes)

Heads are small pickles of what must be known of a definition before anything else of it: a class's bases, a function's
code. The header is {"roots": [[key, stages], …], "heads": [length, …], "pickles": length, "buffers": [length, …]}.
"""

from __future__ import annotations

from ..private import builtins as __builtins__

# The C module's own: those of `pickle` are session code's to replace.
from _pickle import Pickler as _Pickler
from _pickle import Unpickler as _Unpickler
from io import BytesIO
from struct import Struct

from ..digests import sha256
from ..frames import FrameError
from ..frames import decode_json as _from_json
from ..frames import encode_json as _json
from . import recipes
from .reasons import Refused, TooLarge, TooSlow

_MAGIC = b"ecv1"
_PROTOCOL = 5
_ALIGNMENT = 64
_pack, _unpack = Struct(">d").pack, Struct(">d").unpack


class _Pickling:
    """What a pickler of ours does, whichever it is."""

    def __init__(self, registry, root, through: str, limit: int) -> None:
        self.pieces: list = []
        self.buffers: list = []
        self.stopped = False
        """Set by another thread: it shall go no further."""
        super().__init__(self, _PROTOCOL, buffer_callback=self._take_buffer)
        self.registry = registry
        self.root = root
        self.through = through
        """The variable that is worked on."""
        self.joins: set = set()
        self.needs: dict = {}
        """The keys that occur, each as the one object that is pickled."""
        self.notes: set = set()
        self.owners: set = set()
        """The identities of arrays in whose memory others lie."""
        self.bytes = 0
        self.last = None
        """The object that was looked at last: when the pickler fails, the one that it failed at."""
        self.expected: set = set()
        """The identities of dictionaries that are still to come as objects' attributes, and not as themselves."""
        self.unordered = False
        """There is a set, whose order depends on the process."""
        self._nans: dict = {}
        self._limit = limit
        self._ways = registry.ways

    def write(self, data) -> int:
        self._count(len(data))
        self.pieces.append(data if type(data) is bytes else bytes(data))
        return len(data)

    def _take_buffer(self, buffer) -> bool:
        raw = buffer.raw()
        self._count(raw.nbytes)
        self.buffers.append(raw)
        return False

    def _count(self, size: int) -> None:
        self.bytes += size
        if self.bytes > self._limit:
            raise TooLarge(f"it has more than {self._limit} bytes")

        if self.stopped:
            raise TooSlow("it took too long")

    def need(self, key: str) -> str:
        return self.needs.setdefault(key, key)

    def nan_key(self, nan: float) -> str:
        """What stands for a NaN, which the pickler itself would write as often as it is met."""
        _, key = self._nans.setdefault(id(nan), (nan, f"q:{len(self._nans)}:{_pack(nan).hex()}"))
        return key

    def forget(self) -> None:
        """Lets go of everything: a pickler is part of a cycle, and is not gone when nobody has it any more."""
        self.clear_memo()
        vars(self).clear()

    def persistent_id(self, value):
        kind = type(value)
        way = self._ways.get(id(kind), self)
        if way is None:
            return None
        self.last = value
        if way is self:
            way = self.registry.classify(kind)
            if way is None:
                return None
        if kind is set and len(value) > 1:
            self.unordered = True
        return way(self, value)

    def reducer_override(self, value):
        registry = self.registry
        kind = id(type(value))
        recipe = registry.recipes.get(kind)
        if self.root is not None:
            attributes = registry.attributes.get(kind)
            if attributes is not None:
                registry.meet_attributes(self, value, attributes(value))
        elif id(value) in registry.aliased:
            recipe = recipes.with_its_dictionary
        return NotImplemented if recipe is None else recipe(self, value)


class Pickler(_Pickling, _Pickler):
    """Pickles values of one root or of several. `root` is what `note` marks shared objects with, None for none."""


def slow_pickler(*arguments):
    """A pickler that is written in Python: it can go as deep as Python's own recursion goes."""
    from copyreg import dispatch_table
    from pickle import _Pickler as base

    save_any, save_reduce = base.save, base.save_reduce

    class SlowPickler(_Pickling, base):
        def save(self, value, save_persistent_id=True):
            """As the base's, by calls of functions only: those of bound methods with a tuple of arguments take a piece
            of the C stack, of which newer Pythons allow a few thousand."""
            kind = type(value)
            if kind in self.dispatch or issubclass(kind, type):
                return save_any(self, value, save_persistent_id)
            self.framer.commit_frame()
            key = self.persistent_id(value)
            if key is not None:
                return self.save_pers(key)
            if id(value) in self.memo:
                self.write(self.get(self.memo[id(value)][0]))
                return None
            reduced = self.reducer_override(value)
            if reduced is NotImplemented:
                known = dispatch_table.get(kind)
                reduced = value.__reduce_ex__(_PROTOCOL) if known is None else known(value)
            if type(reduced) is str:
                return self.save_global(value, reduced)
            if type(reduced) is not tuple or not 2 <= len(reduced) <= 6:
                raise Refused("its __reduce__ gives nothing that can be pickled")
            return save_reduce(self, *reduced, obj=value)

    return SlowPickler(*arguments)


class Unpickler(_Unpickler):
    """Reads what `Pickler` wrote; `resolve(key)` gives what a key stands for."""

    def __init__(self, file, resolve, buffers=()) -> None:
        super().__init__(file, buffers=buffers)
        self._resolve = resolve
        self._nans: dict = {}

    def persistent_load(self, key):
        if key[:2] != "q:":
            return self._resolve(key)
        if key not in self._nans:
            self._nans[key] = _unpack(bytes.fromhex(key.rpartition(":")[2]))[0]
        return self._nans[key]

    def find_class(self, module, name):
        if module == "__main__":
            raise Refused(f"it is kept by its name only, {name}")
        return super().find_class(module, name)


def head(registry, value, through: str) -> tuple:
    """The pickle of a definition's head, and the keys in it."""
    pickler = Pickler(registry, None, through, 1 << 24)
    try:
        pickler.dump(value)
        return b"".join(pickler.pieces), pickler.needs
    finally:
        pickler.forget()


class Blob:
    """A blob's parts, before they are written."""

    def __init__(self, roots: list, heads: list, pieces: list, buffers: list) -> None:
        """`roots` are keys and numbers of stages."""
        self.names = [key[2:] for key, _ in roots]
        sizes = [buffer.nbytes for buffer in buffers]
        lengths = {"heads": list(map(len, heads)), "pickles": sum(map(len, pieces)), "buffers": sizes}
        header = _json({"roots": roots, **lengths}).encode("ascii")
        self._parts = [_MAGIC, len(header).to_bytes(4, "little"), header, *heads, *pieces]
        size = sum(map(len, self._parts))
        for buffer in buffers:
            gap = -size % _ALIGNMENT
            self._parts += [bytes(gap), buffer]
            size += gap + buffer.nbytes
        self.bytes = size

    def digest(self) -> str:
        digest = sha256()
        for part in self._parts:
            digest.update(part)
        return digest.hexdigest()

    def data(self) -> bytes:
        return b"".join(self._parts)


class Opened:
    """A blob that is read. Raises Refused when it is none."""

    def __init__(self, data) -> None:
        view = memoryview(data).cast("B")
        try:
            if view[:4] != _MAGIC:
                raise ValueError
            end = 8 + int.from_bytes(view[4:8], "little")
            header = _from_json(bytes(view[8:end]).decode("utf-8", "surrogatepass"))
            self.roots = [(key, stages) for key, stages in header["roots"]]
            self.heads = []
            for size in header["heads"]:
                self.heads.append(bytes(view[end : end + size]))
                end += size
            self._pickles = view[end : end + header["pickles"]]
            end += header["pickles"]
            self._buffers = []
            for size in header["buffers"]:
                end += -end % _ALIGNMENT
                self._buffers.append(view[end : end + size])
                end += size
            if end != len(view):
                raise ValueError
        except (FrameError, ValueError, KeyError, TypeError):
            raise Refused("its capture is damaged") from None

    @property
    def has_buffers(self) -> bool:
        return bool(self._buffers)

    @property
    def pickles(self) -> bytes:
        return bytes(self._pickles)

    def unpickler(self, resolve) -> Unpickler:
        """Its `load` gives the stages of the roots, one after another."""
        return Unpickler(BytesIO(self._pickles), resolve, self._buffers)
