"""How items, keys and state are stored: exact types at C speed, read back without running anything.

A stored value is one byte that says which form follows, then the form: pickle
protocol 5, or for a lone number, text, bytes or None a shorter one. Pickle is
read by an unpickler that resolves value types (see `forms`), classes that this
process registered with `register_type`, and classes of its own ``__main__``;
a name beyond these is an `UnknownTypeError`, and nothing of the value is built.
Registering a class therefore means to trust its constructor and its
``__setstate__`` with any arguments.
"""

from __future__ import annotations

import enum
import io
import pickle
import reprlib
import struct
import types
from typing import Any

from jetbridge.errors import SerializationError, UnknownTypeError
from jetbridge.store import forms, registered
from jetbridge.store.registered import register_type, register_type_names, registered_types

__all__ = ["decode", "encode", "register_type", "register_type_names", "registered_types"]

_PICKLE = 1  # the form's first byte is also the format's version: a later one takes another number
_NONE, _TRUE, _FALSE = b"n", b"t", b"f"
_INT, _FLOAT, _STR, _BYTES = b"i", b"d", b"s", b"b"
_DOUBLE = struct.Struct("<d")
_CODE = (
    types.FunctionType,
    types.BuiltinFunctionType,
    types.MethodType,
    types.MethodWrapperType,
    types.WrapperDescriptorType,
    types.MethodDescriptorType,
    types.ClassMethodDescriptorType,
    types.ModuleType,
    types.CodeType,
)


def encode(value: Any) -> bytes:
    """Turn a value into the bytes that are stored.

    Example:
        >>> decode(encode({"carrier": "UA", "delays": [3, -1]}))
        {'carrier': 'UA', 'delays': [3, -1]}

    Args:
        value: Any value of builtin, standard value or importable class; functions,
            modules and classes themselves are refused, because they are code.

    Raises:
        SerializationError: When it, or something in it, cannot be stored; the message names that.
    """
    kind = type(value)
    if kind is int:
        return _INT + int.to_bytes(value, (value.bit_length() + 8) // 8, "little", signed=True)
    if kind is str:
        return _STR + str.encode(value, "utf-8", "surrogatepass")
    if kind is float:
        return _FLOAT + _DOUBLE.pack(value)
    if value is None:
        return _NONE
    if kind is bool:
        return _TRUE if value else _FALSE
    if kind is bytes:
        return _BYTES + bytes(value)
    file = io.BytesIO()
    file.write(b"\x01")
    try:
        _Pickler(file).dump(value)
    except SerializationError:
        raise
    except RecursionError as error:
        raise SerializationError(f"cannot store {_short(value)}: it is nested too deeply") from error
    except Exception as error:  # a class's own __reduce__ or __getstate__ may raise anything
        raise SerializationError(f"cannot store {_short(value)}: {_reason(error)}") from error
    return file.getvalue()


def decode(data: bytes) -> Any:
    """Turn stored bytes back into the value.

    Raises:
        UnknownTypeError: When it holds an instance of a class that this process has not registered.
        SerializationError: When the bytes are no stored value, or a registered class refused them.
    """
    form = data[:1]
    if form == b"\x01":
        file = io.BytesIO(data)
        file.seek(1)
        try:
            return Unpickler(file).load()
        except SerializationError:
            raise
        except Exception as error:  # crafted or foreign bytes can make pickle raise nearly anything
            raise SerializationError(f"a stored value cannot be read back: {_reason(error)}") from error
    try:
        return _decode_plain(form, data)
    except (struct.error, UnicodeDecodeError) as error:
        raise SerializationError(f"a stored value cannot be read back: {_reason(error)}") from error


def _decode_plain(form: bytes, data: bytes) -> Any:
    if form == _STR:
        return data[1:].decode("utf-8", "surrogatepass")
    if form == _INT:
        return int.from_bytes(data[1:], "little", signed=True)
    if form == _FLOAT:
        return _DOUBLE.unpack(data[1:])[0]
    if form == _NONE:
        return None
    if form == _TRUE:
        return True
    if form == _FALSE:
        return False
    if form == _BYTES:
        return data[1:]
    raise SerializationError(
        f"a stored value has the form {form!r}, which this version of jetbridge does not know; "
        "if a later version wrote it, upgrade jetbridge"
    )


class _Pickler(pickle.Pickler):
    """Pickles values; refuses code at the moment of writing, where the user can still see why."""

    def __init__(self, file: io.BytesIO) -> None:
        super().__init__(file, protocol=5)
        self._kinds: set[type] = set()  # classes of instances met: pickle will ask for them next
        self._last: type | None = None

    def reducer_override(self, value: Any) -> Any:
        kind = type(value)
        if kind is forms.Maker:
            return NotImplemented
        if isinstance(value, type):
            if value in forms.VALUE_CLASSES or value in self._kinds or value in registered.by_name.values():
                return NotImplemented
            raise SerializationError(f"cannot store the class {value.__module__}.{value.__qualname__}: {_NO_CODE}")
        if isinstance(value, _CODE):
            raise SerializationError(f"cannot store {_describe(value)}{self._origin()}: {_NO_CODE}")
        if kind in _RUNNING:
            raise SerializationError(f"cannot store {_short(value)}{self._origin()}: {_RUNNING[kind]}")
        reducer = forms.REDUCERS.get(kind)
        if reducer is not None:
            return reducer(value)
        reduced = forms.reduce_numpy(value)
        if reduced is not None:
            return reduced
        self._kinds.add(kind)
        self._last = kind
        if isinstance(value, enum.Enum):
            # By value on every version of Python: some store flags as calls of operator.or_.
            return kind, (value._value_,)
        return NotImplemented

    def _origin(self) -> str:
        return (
            "" if self._last is None else f" (met in an instance of {self._last.__module__}.{self._last.__qualname__})"
        )


class Unpickler(pickle.Unpickler):
    """Reads pickles; ``find_class`` is the only door to names, and it opens to value types alone."""

    def find_class(self, module: str, name: str) -> Any:
        """What a name stands for.

        Raises:
            UnknownTypeError: For one that is neither a value type nor registered.
        """
        place = (module, name)
        known = forms.KNOWN.get(place)
        if known is not None:
            return known
        mine = registered.by_name.get(place)
        if mine is not None:
            return mine
        if module == "__main__":
            return registered.find(module, name)
        raise UnknownTypeError(
            f"a stored value names {module}.{name}, which this process has not registered, so it was not read; "
            f"import the class and call jetbridge.register_type({name.rpartition('.')[2]})"
        )


_NO_CODE = "stored values are data, never code; store a name or an id in its place"


_RUNNING: dict[type, str] = {
    types.GeneratorType: "flat_map makes an item of each of its values, and list(...) in the function one of all",
    types.CoroutineType: "an async function gives this; call it with map_using_service_async, which waits for it",
    types.AsyncGeneratorType: "an async function with yield gives this, which no stage calls; return a list from an "
    "async function without, and call that with map_using_service_async",
}
"""What is still to run has no value to store; and what to do about it."""


def _describe(value: Any) -> str:
    if isinstance(value, types.ModuleType):
        return f"the module {value.__name__}"
    name = getattr(value, "__qualname__", repr(value))
    return f"the lambda in {value.__module__}" if name.endswith("<lambda>") else f"the function {name}"


def _reason(error: Exception) -> str:
    return f"{type(error).__name__}: {error}" if str(error) else type(error).__name__


def _short(value: Any) -> str:
    try:
        return f"{reprlib.repr(value)} ({type(value).__name__})"
    except Exception:  # a broken __repr__ must not hide the real error
        return f"a {type(value).__name__}"
