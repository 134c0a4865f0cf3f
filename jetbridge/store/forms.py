"""The value types that every reader knows, and how the ones among them that are written in Python are stored.

Reading a stored value may name only what is listed here, and nothing listed
here does more than build a value. The classes are all immutable to Python code,
so that crafted data cannot change them; a class that is not (UUID, Fraction,
Counter, paths) is rebuilt by a `Maker`, which cannot be changed either.
"""

from __future__ import annotations

import builtins
import collections
import datetime as dt
import fractions
import ipaddress
import pathlib
import sys
import types
import uuid
import zoneinfo
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from jetbridge.errors import SerializationError
from jetbridge.kernels.aside import FailedItem
from jetbridge.windows import KeyedWindowResult, WindowResult

if TYPE_CHECKING:
    from collections.abc import Callable

Reduced = tuple["Maker", tuple[Any, ...]]

_IMMUTABLE_TYPE, _HEAP_TYPE = 1 << 8, 1 << 9  # CPython's Py_TPFLAGS
_CLASSES: tuple[type, ...] = (
    *(dt.date, dt.datetime, dt.time, dt.timedelta, dt.timezone, Decimal),
    *(collections.OrderedDict, collections.defaultdict, collections.deque, types.SimpleNamespace),
    *(bytearray, complex, range, slice, set, frozenset),
    *(bool, int, float, str, bytes, list, dict, tuple),  # the factories of a defaultdict
    *(kind for kind in vars(builtins).values() if isinstance(kind, type) and issubclass(kind, BaseException)),
)
# ExceptionGroup is the one exception whose class can be changed.
_CLASSES = tuple(kind for kind in _CLASSES if not kind.__flags__ & _HEAP_TYPE or kind.__flags__ & _IMMUTABLE_TYPE)
VALUE_CLASSES = frozenset(_CLASSES)
_PATHS = {kind.__name__: kind for kind in (pathlib.PurePosixPath, pathlib.PureWindowsPath, pathlib.PosixPath)}
_ADDRESSES: dict[str, Callable[[str], Any]] = {
    kind.__name__: kind
    for kind in (
        *(ipaddress.IPv4Address, ipaddress.IPv4Network, ipaddress.IPv4Interface),
        *(ipaddress.IPv6Address, ipaddress.IPv6Network, ipaddress.IPv6Interface),
    )
}


class Maker:
    """A function that rebuilds a value, in a shell that stored data cannot alter.

    Pickle's BUILD sets attributes on whatever it is given; this has none to set.

    Example:
        >>> MAKERS["make_uuid"](5)
        UUID('00000000-0000-0000-0000-000000000005')
    """

    __slots__ = ("_make", "_name")
    _name: str
    _make: Callable[..., Any]

    def __init__(self, name: str, make: Callable[..., Any]) -> None:
        object.__setattr__(self, "_name", name)
        object.__setattr__(self, "_make", make)

    def __call__(self, *arguments: Any) -> Any:
        """Rebuild the value."""
        return self._make(*arguments)

    def __setattr__(self, name: str, value: Any) -> None:
        raise AttributeError(f"the maker {self._name!r} cannot be changed")

    def __reduce__(self) -> str:
        # Pickle stores it as a global of this module, under the name that find_class looks up.
        return self._name


def _expect(kind: type, *arguments: Any) -> None:
    # Crafted arguments of other types could make a constructor do other things than rebuild a value.
    if any(type(argument) is not kind for argument in arguments):
        raise SerializationError(f"a stored value is rebuilt from {kind.__name__}; got {arguments!r:.200}")


def _uuid(number: int) -> uuid.UUID:
    _expect(int, number)
    return uuid.UUID(int=number)


def _fraction(above: int, below: int) -> fractions.Fraction:
    _expect(int, above, below)
    return fractions.Fraction(above, below)


def _named_zone(key: str) -> zoneinfo.ZoneInfo:
    _expect(str, key)
    return zoneinfo.ZoneInfo(key)


def _named_path(kind: str, text: str) -> pathlib.PurePath:
    _expect(str, kind, text)
    return _PATHS[kind](text)


def _named_address(kind: str, text: str) -> Any:
    _expect(str, kind, text)
    return _ADDRESSES[kind](text)


def _counter(counts: dict[Any, int]) -> collections.Counter[Any]:
    _expect(dict, counts)
    # Counter's own constructor would count an iterable, however long; data holds a dict.
    result: collections.Counter[Any] = collections.Counter()
    dict.update(result, counts)
    return result


def _array(dtype: str, shape: tuple[int, ...], data: bytes) -> Any:
    import numpy as np

    _expect(str, dtype)
    kind = np.dtype(dtype)
    if kind.hasobject:
        raise SerializationError("a stored array holds object references")
    # A bytearray, so that the array can be written to, as the one that was stored.
    return np.ndarray(shape, kind, buffer=bytearray(data))


def _scalar(dtype: str, data: bytes) -> Any:
    return _array(dtype, (), data)[()]


def _window(start: int, end: int, value: Any, is_early: bool) -> WindowResult:
    return WindowResult(start, end, value, is_early)


def _keyed_window(start: int, end: int, key: Any, value: Any, is_early: bool) -> KeyedWindowResult:
    return KeyedWindowResult(start, end, key, value, is_early)


def _failed_item(stage: str, item: Any, error: str, trace: str) -> FailedItem:
    return FailedItem(stage, item, error, trace)


_MAKES: dict[str, Callable[..., Any]] = {
    "make_uuid": _uuid,
    "make_fraction": _fraction,
    "make_counter": _counter,
    "make_zone": _named_zone,
    "make_path": _named_path,
    "make_address": _named_address,
    "make_window": _window,
    "make_keyed_window": _keyed_window,
    "make_failed_item": _failed_item,
    "make_numpy_array": _array,
    "make_numpy_scalar": _scalar,
}
MAKERS = {name: Maker(name, make) for name, make in _MAKES.items()}
# Pickle checks that the module has the object under its name, so they are globals too.
globals().update(MAKERS)


def _zone(value: zoneinfo.ZoneInfo) -> Reduced:
    if value.key is None:
        raise SerializationError(
            "a ZoneInfo read from a file has no key and cannot be stored; use ZoneInfo('Area/City')"
        )
    return MAKERS["make_zone"], (value.key,)


def _path(value: pathlib.PurePath) -> Reduced:
    return MAKERS["make_path"], (type(value).__name__, str(value))


def _address(value: Any) -> Reduced:
    return MAKERS["make_address"], (type(value).__name__, str(value))


REDUCERS: dict[type, Callable[[Any], Reduced]] = {
    uuid.UUID: lambda value: (MAKERS["make_uuid"], (value.int,)),
    fractions.Fraction: lambda value: (MAKERS["make_fraction"], (value.numerator, value.denominator)),
    collections.Counter: lambda value: (MAKERS["make_counter"], (dict(value),)),
    zoneinfo.ZoneInfo: _zone,
    WindowResult: lambda value: (MAKERS["make_window"], tuple(value)),
    FailedItem: lambda value: (MAKERS["make_failed_item"], tuple(value)),
    KeyedWindowResult: lambda value: (MAKERS["make_keyed_window"], tuple(value)),
    **dict.fromkeys(_PATHS.values(), _path),
    **{kind: _address for kind in _ADDRESSES.values() if isinstance(kind, type)},
}


def reduce_numpy(value: Any) -> Reduced | None:
    """The stored form of a numpy scalar or array; None for anything else.

    Raises:
        SerializationError: For object and structured arrays, which have no plain bytes.
    """
    np = sys.modules.get("numpy")
    if np is None or (type(value) is not np.ndarray and not isinstance(value, np.generic)):
        return None
    dtype = value.dtype
    if dtype.hasobject or dtype.kind == "V":
        raise SerializationError(f"a numpy value of dtype {dtype} cannot be stored; convert it with .tolist()")
    if isinstance(value, np.generic):
        return MAKERS["make_numpy_scalar"], (dtype.str, value.tobytes())
    return MAKERS["make_numpy_array"], (dtype.str, value.shape, value.tobytes())


def _names() -> dict[tuple[str, str], Any]:
    names: dict[tuple[str, str], Any] = {(kind.__module__, kind.__qualname__): kind for kind in _CLASSES}
    names.update({("builtins", "Ellipsis"): ..., ("builtins", "NotImplemented"): NotImplemented})
    names.update({(__name__, name): maker for name, maker in MAKERS.items()})
    return names


KNOWN: dict[tuple[str, str], Any] = _names()
"""What stored data may name: (module, qualified name) → class or maker."""
