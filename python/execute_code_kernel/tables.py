"""Arrays and tables of well-known libraries: shape, size, first rows, and figures of their columns.

The libraries' own code runs here, the session's does not. A subclass is looked at as the class of the library that it
derives from; what is not the library's own (a column type or an index of the session's) is named and not asked; and
cells that are objects are shown by `previews`. A library is used only where the session has imported it.

A view is what a value shows of itself: `shape`, `dtype()`, `bytes()`, `rows`, `columns(limit)` with their number,
`labels` of rows, and the columns to `describe`; with `columns` None it holds nothing that can be read. A column has a
`dtype`, a `weight` (the cells that one row of it counts as), `texts` of its cells at given positions, and `figures` of
every step-th of them, which may be NaN or None.
"""

from __future__ import annotations

from .private import builtins as __builtins__

from math import isfinite, nan
from struct import pack
from warnings import catch_warnings, simplefilter

from .previews import (
    LARGEST,
    derives,
    instance_dict,
    is_plain_zone,
    library,
    lookup,
    offered,
    preview,
    scalar,
    table_class,
    type_name,
)
from .private import MODULES

CELLS = 2_000_000
"""Cells that the figures of one table come from, at most."""
_COLUMNS = 50
_ROWS = 5
_TEXT = 60
_DTYPE = 100
_ITEMS = 20
_CELL_BYTES = 4096
_DEPTH = 3
_CODES = {2: "e", 4: "f"}
"""What `struct` calls floating point numbers of less than double precision, by their size."""
_QUARTILES = (("25%", 0.25), ("50%", 0.5), ("75%", 0.75))


def shape_and_dtype(value) -> tuple:
    """Of an array or a table; the dtype is None for one that has several. Raises when the value is neither."""
    view = _view(value)
    return [min(extent, LARGEST) for extent in view.shape[:32]], view.dtype()


def full_bytes(value) -> int | None:
    """What an array or a table takes with its cells; objects in cells count as references."""
    try:
        size = _view(value).bytes()
    except Exception:
        return None
    return None if size is None else min(int(size), LARGEST)


def look(value, cells: int = CELLS) -> dict | None:
    """The first rows of an array or a table, and figures of its columns from so many cells at most."""
    try:
        with catch_warnings():
            simplefilter("ignore")
            view = _view(value)
            return None if view.columns is None else _look(view, cells)
    except KeyboardInterrupt:
        raise
    except BaseException:
        # A panic inside a library written in Rust is no Exception.
        return None


def _look(view, cells: int) -> dict:
    columns, total = view.columns(_COLUMNS)
    shown = range(min(view.rows, _ROWS))
    texts = [_texts(column.texts, shown) for _, column in columns]
    described, rows = view.describe(columns)
    step = max(1, -(-rows * sum([column.weight for _, column in described]) // cells))
    figures: dict = {}
    for name, column in described:
        figures[_free(name, figures)] = _figures(column, step)
    return {
        "columns": [{"name": name, "dtype": column.dtype} for name, column in columns],
        "omitted_columns": min(total - len(columns), LARGEST),
        "index": _texts(view.labels, shown),
        "head": [[column[row] for column in texts] for row in shown],
        "describe": figures,
        "described_rows": min(-(-rows // step), LARGEST),
    }


def _free(name: str, taken: dict) -> str:
    """A key for a column's figures: names may repeat, keys may not."""
    key, number = name, 1
    while key in taken:
        number += 1
        key = f"{name} ({number})"
    return key


def _texts(write, positions) -> list:
    try:
        return write(positions)
    except KeyboardInterrupt:
        raise
    except BaseException:
        return ["…" for _ in positions]


def _figures(column, step: int) -> dict:
    """Finite numbers and None; nothing for a column that has no figures to give."""
    try:
        found = column.figures(step)
        return {name: figure if type(figure) is int else _finite(float(figure)) for name, figure in found.items()}
    except KeyboardInterrupt:
        raise
    except BaseException:
        return {}


def _finite(number: float) -> float | None:
    return number if isfinite(number) else None


def _view(value):
    """Raises for a value that is no array and no table, and for one that cannot be seen through its library's class."""
    module, base = table_class(type(value))
    return _VIEWS[module](value, base)


# ── texts ───────────────────────────────────────────────────────────────────────────────────────────────────────


def _cell(value) -> str:
    """Text as it is; numbers, dates and what is missing in short; a preview of everything else."""
    if type(value) is str:
        return _line(value)
    if type(value) is float:
        return _decimal(value)
    known = None if value is None else scalar(value)
    if known is None:
        return preview(value, _TEXT)
    return _line(_instant(known) if type_name(type(value)) == "Timestamp" else known)


def _line(text: str) -> str:
    shown = text[: _TEXT + 1]
    if not shown.isprintable():
        shown = "".join([character if character.isprintable() else " " for character in shown])
    return shown if len(shown) <= _TEXT else shown[: _TEXT - 1] + "…"


def _decimal(number: float, code: str | None = None) -> str:
    """The shortest text that tells a number of double precision, or of the one that `struct` has this code for."""
    if number != number:
        return "NaN"
    packed = None if code is None else _packed(code, number)
    for digits in range(1, 10) if packed is not None else ():
        shorter = float(f"{number:.{digits}g}")
        if _packed(code, shorter) == packed:
            return repr(shorter)
    return repr(number)


def _packed(code: str, number: float):
    try:
        return pack(code, number)
    except OverflowError:
        return None


def _instant(text: str) -> str:
    """A date alone where the time is midnight."""
    return text[:-9] if text.endswith(" 00:00:00") else text


# ── figures ─────────────────────────────────────────────────────────────────────────────────────────────────────


def _of_numbers(ordered, missing: int, mean, std) -> dict:
    """Of numbers in rising order; the deviation is the sample's (n − 1)."""
    last = len(ordered) - 1
    return {
        "count": last + 1,
        "missing": missing,
        "mean": nan if mean is None else mean,
        "std": nan if std is None or last < 1 else std,
        "min": ordered[0] if last >= 0 else nan,
        **{name: _quantile(ordered, share * last) if last >= 0 else nan for name, share in _QUARTILES},
        "max": ordered[last] if last >= 0 else nan,
    }


def _quantile(ordered, position: float) -> float:
    """The value at a position, or between its neighbours in proportion."""
    low = int(position)
    below = float(ordered[low])
    part = position - low
    return below if part == 0 else below + (float(ordered[low + 1]) - below) * part


def _of_others(count: int, missing: int, unique: int | None = None) -> dict:
    return {"count": count, "missing": missing, **({} if unique is None else {"unique": unique})}


def _of_objects(cells, masked) -> dict:
    """Of Python objects; different ones are counted only when all are of types whose comparison is no session code."""
    nothing = [offered("pandas", name) for name in ("NA", "NaT")]
    missing, plain, seen = 0, True, set()
    for position, cell in enumerate(cells):
        kind = type(cell)
        if cell is None or (masked is not None and masked[position]) or (kind is float and cell != cell):
            missing += 1
        elif kind is str or kind is int or kind is bool or kind is float or kind is bytes:
            seen.add(cell)
        elif any([cell is one for one in nothing]):
            missing += 1
        else:
            plain = False
    return _of_others(len(cells) - missing, missing, len(seen) if plain else None)


# ── arrays ──────────────────────────────────────────────────────────────────────────────────────────────────────


class _ArrayView:
    """An array: rows and columns of the first plane; with more than two dimensions figures of all cells together."""

    def __init__(self, shape, cells) -> None:
        self.shape = [int(extent) for extent in shape]
        self._cells = cells
        # Without a first plane there is nothing to show.
        self.rows = 0 if not all(self.shape[:-2]) else self.shape[-2:][0] if self.shape else 1

    def columns(self, limit: int) -> tuple:
        if len(self.shape) < 2:
            return [("", self._column((slice(None),) if self.shape else (None,)))], 1
        plane = (0,) * (len(self.shape) - 2)
        total = self.shape[-1] if all(self.shape[:-2]) else 0
        shown = range(min(total, limit))
        return [(str(place), self._column((*plane, slice(None), place))) for place in shown], total

    def labels(self, positions) -> list:
        return [str(position) for position in positions]

    def describe(self, columns: list) -> tuple:
        if len(self.shape) <= 2:
            return columns, self.rows
        total = 1
        for extent in self.shape:
            total *= extent
        return [("", _AllCells(self, columns[0][1].weight if columns else 1))], total


class _AllCells:
    """The cells of an array with many dimensions, as one column."""

    def __init__(self, view: _ArrayView, weight: int) -> None:
        self._view = view
        self.weight = weight

    def figures(self, step: int) -> dict:
        return self._view.sample(step).figures(1)


# ── numpy ───────────────────────────────────────────────────────────────────────────────────────────────────────


class _NumpyView(_ArrayView):
    def __init__(self, value, base: type) -> None:
        # A subclass would be told of every slice that is taken.
        super().__init__(base.shape.__get__(value), base.view(value, base))
        self._mask = _mask(value, base)

    def dtype(self) -> str:
        return _numpy_dtype(self._cells.dtype)

    def bytes(self) -> int:
        return self._cells.nbytes

    def columns(self, limit: int) -> tuple:
        names = self._cells.dtype.names
        if names is None or len(self.shape) > 1:
            return super().columns(limit)
        key = () if self.shape else (None,)
        return [(_cell(name), self._column(key, name)) for name in names[:limit]], len(names)

    def _column(self, key: tuple, field=None) -> _NumpyColumn:
        cells, mask = self._cells[key], None if self._mask is None else self._mask[key]
        if field is not None:
            cells, mask = cells[field], None if mask is None else mask[field]
        return _NumpyColumn(cells, mask, masked="--")

    def sample(self, step: int) -> _NumpyColumn:
        mask = None if self._mask is None else self._mask.flat[::step]
        return _NumpyColumn(self._cells.flat[::step], mask)


def _mask(value, base: type):
    """Which cells a masked array hides, or None."""
    if not derives(type(value), offered("numpy.ma", "MaskedArray")):
        return None
    mask = (instance_dict(value) or {}).get("_mask")
    return mask if type(mask) is base else None


def _numpy_dtype(dtype) -> str:
    """As numpy writes it; what a session may have put into it is left out."""
    if dtype.kind == "T":
        return "StringDType"
    if dtype.names is None:
        return f"({_numpy_dtype(dtype.base)}, {dtype.shape})" if dtype.subdtype else str(dtype)[:_DTYPE]
    fields = [f"({_cell(name)!r}, {_numpy_dtype(dtype.fields[name][0])!r})" for name in dtype.names[:_ITEMS]]
    return f"[{', '.join(fields)}]"[:_DTYPE]


class _NumpyColumn:
    """Cells along the first dimension of an array of numpy's own class."""

    def __init__(self, cells, mask=None, dtype: str | None = None, masked: str = "<NA>") -> None:
        self._cells = cells
        # One that has a mask for each part of a cell hides none of them wholly.
        self._mask = mask if mask is not None and mask.ndim == 1 and mask.dtype.kind == "b" else None
        self._masked = masked
        self._kind = cells.dtype.kind
        self.dtype = _numpy_dtype(cells.dtype) if dtype is None else dtype
        self.weight = max(1, cells.dtype.itemsize // 8) if self._kind in "SUV" or cells.ndim > 1 else 1

    def texts(self, positions) -> list:
        return [self._text(position) for position in positions]

    def _text(self, position: int) -> str:
        if self._mask is not None and self._mask[position]:
            return self._masked
        if self._cells.ndim > 1:
            return preview(self._cells[position].flat[:_ITEMS].tolist(), _TEXT)
        size = self._cells.dtype.itemsize
        if self._kind == "f":
            return _decimal(float(self._cells[position]), _CODES.get(size))
        if self._kind in "SU" and size > _CELL_BYTES:
            return _cell(self._cells[position : position + 1].astype(f"{self._kind}{_TEXT + 1}")[0].item())
        if self._kind == "V":
            return f"<{size} bytes>" if size > _CELL_BYTES else preview(self._cells[position].item(), _TEXT)
        if self._kind == "M":
            instant = str(MODULES["numpy"].datetime_as_string(self._cells[position], unit="auto"))
            return instant if instant == "NaT" else instant.replace("T", " ")
        cell = self._cells[position]
        return _cell(cell if self._kind in "OTm" else cell.item())

    def figures(self, step: int) -> dict:
        numpy = MODULES["numpy"]
        cells = self._cells[::step]
        mask = None if self._mask is None else self._mask[::step]
        if self._kind in "OT" and cells.ndim == 1:
            return _of_objects(cells.tolist(), mask)
        total = len(cells)
        if self._kind == "V" or cells.ndim > 1:
            missing = 0 if mask is None else int(mask.sum())
            return _of_others(total - missing, missing)
        with numpy.errstate(all="ignore"):
            if mask is not None:
                cells = cells[~mask]
            if self._kind in "fc":
                cells = cells[~numpy.isnan(cells)]
            elif self._kind in "mM":
                cells = cells[~numpy.isnat(cells)]
            missing = total - len(cells)
            if self._kind in "iuf":
                return _of_floats(cells.astype("f8"), missing)
            unique = len(set(cells.tolist())) if self._kind in "SU" else _distinct(cells)
        return _of_others(len(cells), missing, unique)


def _distinct(cells) -> int:
    numpy = MODULES["numpy"]
    ordered = numpy.sort(cells)
    return int(numpy.count_nonzero(ordered[1:] != ordered[:-1])) + 1 if len(ordered) else 0


def _of_floats(cells, missing: int) -> dict:
    count = len(cells)
    mean, std = cells.mean() if count else None, cells.std(ddof=1) if count > 1 else None
    cells.sort()
    return _of_numbers(cells, missing, mean, std)


# ── pandas ──────────────────────────────────────────────────────────────────────────────────────────────────────


def _pandas_view(value, base: type):
    if type_name(base) == "Index":
        return _IndexView(value)
    manager = (instance_dict(value) or {})["_mgr"]
    if library(type(manager)) != "pandas":
        raise TypeError
    return _FrameView(manager) if type_name(base) == "DataFrame" else _SeriesView(manager, value)


class _PandasView:
    """What has an index and columns of one length."""

    def __init__(self, index) -> None:
        self._index = index
        self.rows = _index_length(index)
        self.shape = [self.rows]

    def labels(self, positions) -> list:
        return _index_texts(self._index, positions)

    def describe(self, columns: list) -> tuple:
        return columns, self.rows


class _FrameView(_PandasView):
    def __init__(self, manager) -> None:
        self._names, index = manager.axes
        super().__init__(index)
        self._manager = manager
        self.shape = [self.rows, _index_length(self._names)]

    def dtype(self) -> None:
        return None

    def bytes(self) -> int | None:
        return _sum([_index_bytes(self._index), *map(_array_bytes, self._manager.arrays)])

    def columns(self, limit: int) -> tuple:
        shown = range(min(self.shape[1], limit))
        arrays = _arrays(self._manager, limit)
        columns = [_pandas_column(arrays[place]) for place in shown]
        return list(zip(_index_texts(self._names, shown), columns)), self.shape[1]


def _arrays(manager, limit: int) -> dict:
    """The first columns' arrays by their places. The manager's own look-up would ask the indexes."""
    found: dict = {}
    for block in manager.blocks:
        values, places = block.values, block.mgr_locs.as_array
        is_own = _ndarray(values) is not None or library(type(values)) == "pandas"
        for row in (places < limit).nonzero()[0].tolist():
            found[int(places[row])] = values[row] if is_own and values.ndim == 2 else values
        if len(found) >= limit:
            break
    return found


class _SeriesView(_PandasView):
    def __init__(self, manager, value) -> None:
        super().__init__(manager.axes[0])
        self._array = manager.array
        self._name = (instance_dict(value) or {}).get("_name")

    def dtype(self) -> str:
        return _pandas_column(self._array).dtype

    def bytes(self) -> int | None:
        return _sum([_index_bytes(self._index), _array_bytes(self._array)])

    def columns(self, limit: int) -> tuple:
        return [("" if self._name is None else _cell(self._name), _pandas_column(self._array))], 1


class _IndexView(_PandasView):
    def dtype(self) -> str:
        columns = _index_columns(self._index)
        return columns[0][1].dtype if len(columns) == 1 else "object"

    def bytes(self) -> int | None:
        return _index_bytes(self._index)

    def columns(self, limit: int) -> tuple:
        columns = _index_columns(self._index)
        return columns[:limit], len(columns)

    def labels(self, positions) -> list:
        return [str(position) for position in positions]


def _index_columns(index) -> list:
    """An index's labels by level, with the levels' names."""
    known = table_class(type(index))
    if known is None or type_name(known[1]) != "Index":
        raise TypeError
    state = instance_dict(index)
    if "_levels" in state:
        levels = zip(state["_names"], state["_levels"], state["_codes"])
        return [
            (str(position) if name is None else _cell(name), _CodedColumn(level, codes))
            for position, (name, level, codes) in enumerate(levels)
        ]
    column = _RangeColumn(state["_range"]) if "_range" in state else _pandas_column(state["_data"])
    return [("" if state.get("_name") is None else _cell(state["_name"]), column)]


def _index_texts(index, positions) -> list:
    levels = [column.texts(positions) for _, column in _index_columns(index)]
    if len(levels) == 1:
        return levels[0]
    return [_line(f"({', '.join(parts)})") for parts in zip(*levels)]


def _index_length(index) -> int:
    state = instance_dict(index)
    if "_levels" in state:
        return len(state["_codes"][0])
    return len(state["_range"]) if "_range" in state else _array_length(state["_data"])


def _index_bytes(index) -> int | None:
    """As pandas counts it; None for an index that would count by code of the session's."""
    if library(type(index)) != "pandas":
        return None
    state = instance_dict(index)
    # The size of a name is part of a MultiIndex's.
    if not all([name is None or type(name) is str or type(name) is int for name in state.get("_names", ())]):
        return None
    return None if None in map(_index_bytes, state.get("_levels", ())) else index.memory_usage(deep=False)


def _array_length(array) -> int:
    base = _ndarray(array)
    if base is None and library(type(array)) != "pandas":
        raise TypeError
    return len(array) if base is None else base.__len__(array)


def _array_bytes(array) -> int | None:
    base = _ndarray(array)
    if base is not None:
        return base.nbytes.__get__(array)
    if library(type(array)) != "pandas":
        return None
    if type_name(type(array)) == "Categorical":
        return _sum([array.codes.nbytes, _index_bytes(array.categories)])
    return array.nbytes


def _ndarray(array):
    """numpy's class of arrays, when the value is one."""
    known = table_class(type(array))
    return known[1] if known is not None and type_name(known[1]) == "ndarray" else None


def _sum(sizes: list) -> int | None:
    """None when one of them is unknown."""
    return None if any([size is None for size in sizes]) else sum(sizes)


def _pandas_column(array):
    try:
        return _known_column(array)
    except Exception:
        return _OpaqueColumn(type_name(type(array)))


def _known_column(array):
    base = _ndarray(array)
    if base is not None:
        return _NumpyColumn(base.view(array, base))
    kind = type_name(type(array))
    if library(type(array)) != "pandas":
        raise TypeError
    dtype = _pandas_dtype(array.dtype)
    if kind == "Categorical":
        return _CodedColumn(array.categories, array.codes, dtype)
    if kind in ("IntegerArray", "FloatingArray", "BooleanArray"):
        return _NumpyColumn(array._data, array._mask, dtype)
    if kind in ("DatetimeArray", "TimedeltaArray", "PeriodArray"):
        zone = getattr(array.dtype, "tz", None)
        instants = array._ndarray.view("M8[ns]") if kind == "PeriodArray" else array._ndarray
        return _InstantColumn(array if is_plain_zone(zone) else None, instants, dtype)
    if kind.startswith("Arrow"):
        chunks = instance_dict(array)
        return _ArrowColumn(chunks["_pa_array"] if "_pa_array" in chunks else chunks["_data"], dtype, array)
    if kind == "IntervalArray":
        return _IntervalColumn(array, dtype)
    if kind == "SparseArray":
        return _SparseColumn(array, dtype)
    return _NumpyColumn(array._ndarray, dtype=dtype)


def _pandas_dtype(dtype) -> str:
    """As pandas writes it; by its class alone where that would run code of the session's."""
    name = type_name(type(dtype))
    if derives(type(dtype), MODULES["numpy"].dtype):
        return _numpy_dtype(dtype)
    if library(type(dtype)) != "pandas" or not is_plain_zone(getattr(dtype, "tz", None)):
        return name
    if name == "SparseDtype":
        fill = dtype.fill_value
        return f"Sparse[{_pandas_dtype(dtype.subtype)}, {_cell(fill)}]"[:_DTYPE]
    if name == "ArrowDtype":
        return f"{_arrow_dtype(dtype.pyarrow_dtype)}[pyarrow]"[:_DTYPE]
    return str(dtype)[:_DTYPE]


class _OpaqueColumn:
    """Cells that only code of the session's, or of a library that is not known, could tell."""

    weight = 1

    def __init__(self, kind: str) -> None:
        self.dtype = kind

    def texts(self, positions) -> list:
        return ["…" for _ in positions]

    def figures(self, _step: int) -> dict:
        return {}


class _RangeColumn:
    dtype = "int64"
    weight = 1

    def __init__(self, numbers: range) -> None:
        self._numbers = numbers

    def texts(self, positions) -> list:
        return [str(self._numbers[position]) for position in positions]

    def figures(self, step: int) -> dict:
        numbers = self._numbers[::step]
        return _of_floats(MODULES["numpy"].arange(numbers.start, numbers.stop, numbers.step).astype("f8"), 0)


class _CodedColumn:
    """Cells that are positions in an index: a categorical, or a level of a MultiIndex."""

    weight = 1

    def __init__(self, categories, codes, dtype: str | None = None) -> None:
        self._categories = categories
        self._codes = codes
        self.dtype = _index_columns(categories)[0][1].dtype if dtype is None else dtype

    def texts(self, positions) -> list:
        codes = [int(self._codes[position]) for position in positions]
        return [_index_texts(self._categories, [code])[0] if code >= 0 else "NaN" for code in codes]

    def figures(self, step: int) -> dict:
        codes = self._codes[::step]
        known = codes[codes >= 0]
        return _of_others(len(known), len(codes) - len(known), _distinct(known))


class _InstantColumn:
    """Instants, spans and periods; without an array of pandas' that can write them, as instants in UTC."""

    weight = 1

    def __init__(self, array, instants, dtype: str) -> None:
        self._array = array
        self._numpy = _NumpyColumn(instants)
        self.dtype = dtype
        self.figures = self._numpy.figures

    def texts(self, positions) -> list:
        if self._array is None:
            return [f"{text}+00:00" if text != "NaT" else text for text in self._numpy.texts(positions)]
        return [_cell(self._array[position]) for position in positions]


class _IntervalColumn:
    weight = 1

    def __init__(self, array, dtype: str) -> None:
        self._array = array
        self.dtype = dtype

    def texts(self, positions) -> list:
        return [_cell(self._array[position]) for position in positions]

    def figures(self, step: int) -> dict:
        missing = self._array[::step].isna()
        return _of_others(len(missing) - int(missing.sum()), int(missing.sum()))


class _SparseColumn(_IntervalColumn):
    def figures(self, step: int) -> dict:
        # A long one is never written out, not even to take a sample.
        if len(self._array) > CELLS:
            return {}
        return _NumpyColumn(self._array.to_dense()[::step]).figures(1)


# ── pyarrow, inside pandas ──────────────────────────────────────────────────────────────────────────────────────


_ARROW_TEXTS = ("string", "large_string", "string_view", "binary", "large_binary", "binary_view")


class _ArrowColumn:
    weight = 1

    def __init__(self, chunks, dtype: str, array) -> None:
        self._chunks = chunks
        self._missing = _cell(array.dtype.na_value)
        self.dtype = dtype

    def texts(self, positions) -> list:
        return [self._text(self._chunks[position]) for position in positions]

    def _text(self, cell) -> str:
        if not cell.is_valid:
            return self._missing
        value = _arrow_value(cell, _DEPTH)
        code = {"HalfFloatScalar": "e", "FloatScalar": "f"}.get(type_name(type(cell)))
        return _decimal(value, code) if type(value) is float else _cell(value)

    def figures(self, step: int) -> dict:
        arrow, chunks = MODULES["pyarrow"], self._chunks
        total = -(-len(chunks) // step)
        if step > 1:
            chunks = chunks.take(arrow.array(MODULES["numpy"].arange(0, len(chunks), step)))
        chunks = chunks.drop_null()
        kind = chunks.type
        if arrow.types.is_integer(kind) or arrow.types.is_floating(kind) or arrow.types.is_decimal(kind):
            numbers = chunks.to_numpy() if kind == arrow.float16() else chunks.cast("float64", safe=False).to_numpy()
            found = _NumpyColumn(numbers.astype("f8")).figures(1)
            return {**found, "missing": total - found["count"]}
        simple = not _has_extension(kind) and (arrow.types.is_primitive(kind) or str(kind) in _ARROW_TEXTS)
        return _of_others(len(chunks), total - len(chunks), len(chunks.unique()) if simple else None)


def _arrow_value(cell, depth: int):
    """The Python value of a scalar, as much of it as a preview may show."""
    name = type_name(type(cell))
    if library(type(cell)) != "pyarrow" or _has_extension(cell.type):
        return f"<{name}>"
    if not cell.is_valid:
        return None
    if "String" in name or "Binary" in name:
        piece = cell.as_buffer()[: 4 * _TEXT + 4].to_pybytes()
        return piece.decode("utf-8", "ignore") if "String" in name else piece
    if name == "DictionaryScalar":
        return _arrow_value(cell.value, depth)
    if "List" in name or name == "MapScalar":
        return [_arrow_value(item, depth - 1) for item in cell.values[:_ITEMS]] if depth else "…"
    if name == "StructScalar":
        names = [field.name for field in list(cell.type)[:_ITEMS]]
        return {key: _arrow_value(cell[place], depth - 1) if depth else "…" for place, key in enumerate(names)}
    return cell.as_py()


def _arrow_dtype(kind) -> str:
    return type_name(type(kind)) if _has_extension(kind) else str(kind)


def _has_extension(kind) -> bool:
    """Whether a type of the session's may be part of this one."""
    arrow = MODULES["pyarrow"]
    if derives(type(kind), arrow.BaseExtensionType) or kind.num_fields > _ITEMS:
        return True
    parts = [kind.field(place).type for place in range(kind.num_fields)]
    return any(map(_has_extension, [kind.value_type] if arrow.types.is_dictionary(kind) else parts))


# ── polars ──────────────────────────────────────────────────────────────────────────────────────────────────────


class _PolarsView:
    def __init__(self, value, base: type) -> None:
        state = instance_dict(value) or {}
        is_frame = type_name(base) == "DataFrame"
        inner = state["_df" if is_frame else "_s"]
        if type(inner) is not type(base()._df if is_frame else base()._s):
            raise TypeError
        self._is_frame = is_frame
        self._table = base._from_pydf(inner) if is_frame else base._from_pyseries(inner)
        self.shape = list(self._table.shape)
        self.rows = self.shape[0]

    def dtype(self) -> str | None:
        return None if self._is_frame else _polars_dtype(self._table.dtype)

    def bytes(self) -> int:
        return self._table.estimated_size()

    def columns(self, limit: int) -> tuple:
        if not self._is_frame:
            return [(_cell(self._table.name), _PolarsColumn(self._table))], 1
        shown = [self._table.to_series(place) for place in range(min(self.shape[1], limit))]
        return [(_cell(series.name), _PolarsColumn(series)) for series in shown], self.shape[1]

    def labels(self, positions) -> list:
        return [str(position) for position in positions]

    def describe(self, columns: list) -> tuple:
        return columns, self.rows


def _class_of(dtype) -> type:
    """polars takes classes for dtypes as well as their instances."""
    return dtype if issubclass(type(dtype), type) else type(dtype)


def _polars_dtype(dtype) -> str:
    """As polars writes it; by its class alone where that is not the library's."""
    kind = _class_of(dtype)
    return str(dtype)[:_DTYPE] if library(kind) == "polars" else type_name(kind)


class _PolarsColumn:
    weight = 1

    def __init__(self, series) -> None:
        self._series = series
        self._name = type_name(_class_of(series.dtype))
        self._is_number = series.dtype.is_numeric()
        self.dtype = _polars_dtype(series.dtype)

    def texts(self, positions) -> list:
        part = self._series[: len(positions)]
        if self._name in ("String", "Utf8"):
            return [_cell(text) for text in part.str.slice(0, _TEXT + 1).to_list()]
        if self._name in ("Float16", "Float32"):
            code = "f" if self._name == "Float32" else "e"
            return ["None" if number is None else _decimal(number, code) for number in part.to_list()]
        if self._is_number or self._name in ("Object", "Boolean", "Null"):
            return [_cell(cell) for cell in part.to_list()]
        # Written in Rust, and bounded there: a list of lists or a date beyond Python's need not become an object.
        missing = part.is_null().to_list()
        return ["None" if missing[row] else self._formatted(part, row) for row in range(len(positions))]

    def _formatted(self, part, row: int) -> str:
        text = part._s.get_fmt(row, _TEXT + 2)
        return _line(text.strip('"') if self._name in ("Categorical", "Enum") else _instant(text))

    def figures(self, step: int) -> dict:
        series = self._series[::step] if step > 1 else self._series
        total, present = len(series), series.drop_nulls()
        if self._is_number:
            numbers = present.cast(MODULES["polars"].Float64)
            ordered = numbers.filter(numbers.is_not_nan()).sort()
            return _of_numbers(ordered, total - len(ordered), ordered.mean(), ordered.std())
        nested = self._name in ("Object", "List", "Array", "Struct", "Unknown")
        return _of_others(len(present), total - len(present), None if nested else present.n_unique())


# ── torch and jax ───────────────────────────────────────────────────────────────────────────────────────────────


class _TorchView(_ArrayView):
    def __init__(self, value, base: type) -> None:
        torch = MODULES["torch"]
        kind = type(value)
        dispatch = lookup(kind, "__torch_dispatch__")
        if library(kind) != "torch" and dispatch is not lookup(base, "__torch_dispatch__"):
            raise TypeError
        # A subclass may have every function of the library call it; and nothing here is meant for gradients.
        with torch._C.DisableTorchFunction():
            cells = base.detach(value)
        super().__init__(cells.shape, cells)
        self._is_dense = self._cells.layout is torch.strided and not self._cells.is_quantized
        if not self._is_dense or self._cells.device.type != "cpu":
            self.columns = None

    def dtype(self) -> str:
        return str(self._cells.dtype)

    def bytes(self) -> int | None:
        return self._cells.element_size() * self._cells.numel() if self._is_dense else None

    def _column(self, key: tuple) -> _TorchColumn:
        return _TorchColumn(self._cells[key])

    def sample(self, step: int) -> _TorchColumn:
        torch = MODULES["torch"]
        places = torch.arange(0, self._cells.numel(), step, device="cpu")
        return _TorchColumn(torch.take(self._cells, places))


class _TorchColumn:
    weight = 1

    def __init__(self, cells) -> None:
        self._cells = cells
        self.dtype = str(cells.dtype)

    def texts(self, positions) -> list:
        code = _CODES.get(self._cells.element_size())
        cells = self._cells[: len(positions)].tolist()
        return [_decimal(cell, code) if type(cell) is float else _cell(cell) for cell in cells]

    def figures(self, step: int) -> dict:
        torch = MODULES["torch"]
        cells = self._cells[::step]
        total = len(cells)
        if cells.dtype is torch.bool or cells.is_complex():
            cells = cells[~torch.isnan(cells)] if cells.is_complex() else cells
            return _of_others(len(cells), total - len(cells), len(set(cells.tolist())))
        cells = cells.double()
        cells = cells[~torch.isnan(cells)].sort().values
        count = len(cells)
        return _of_numbers(
            cells, total - count, cells.mean() if count else None, cells.std() if count > 1 else None
        )


class _JaxView:
    """What may lie on another device: its cells are not fetched."""

    columns = None

    def __init__(self, value, _base: type) -> None:
        if library(type(value)) != "jaxlib":
            raise TypeError
        self.shape = [int(extent) for extent in value.shape]
        self._value = value

    def dtype(self) -> str:
        return str(self._value.dtype)

    def bytes(self) -> int:
        return self._value.nbytes


_VIEWS = {
    "numpy": _NumpyView,
    "pandas": _pandas_view,
    "polars": _PolarsView,
    "torch": _TorchView,
    "jax": _JaxView,
}
