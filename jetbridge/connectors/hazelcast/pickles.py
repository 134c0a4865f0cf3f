"""What the client cannot express otherwise it pickles, in text: tuples, dicts, sets, bytes, objects of classes.

It is read here by jetbridge's unpickler: value types and registered classes, and
nothing that runs. The pickles are of protocol 0, which names three things more.
"""

from __future__ import annotations

import io
import pickle
import re
import uuid
from _compat_pickle import IMPORT_MAPPING, NAME_MAPPING
from typing import Any

from jetbridge.errors import SerializationError
from jetbridge.store import values

_HIGH = re.compile("[\x80-\xff]")


class _Builder:
    """A name that pickles use, in a shell that they cannot alter."""

    __slots__ = ("_make",)
    _make: Any

    def __init__(self, make: Any) -> None:
        object.__setattr__(self, "_make", make)

    def __call__(self, *arguments: Any) -> Any:
        return self._make(*arguments)

    def __setattr__(self, name: str, value: Any) -> None:
        raise AttributeError("a name in a pickle cannot be changed")


def _encoded(text: str, encoding: str) -> bytes:
    if encoding not in ("latin1", "latin-1"):
        raise SerializationError(f"bytes are pickled as text in {encoding!r}; latin1 was expected")
    return text.encode(encoding)


def _reconstructed(kind: Any, base: Any, state: Any) -> Any:
    if kind is _UUID:
        return object.__new__(uuid.UUID)
    if not isinstance(kind, type) or not isinstance(base, type):
        raise SerializationError(f"a pickle builds an object of {kind!r}, which is no class")
    if base is object:
        return object.__new__(kind)
    made, fill = base.__new__(kind, state), vars(base).get("__init__")
    if fill is not None:
        fill(made, state)
    return made


_UUID = _Builder(uuid.UUID)
_NAMES = {
    ("_codecs", "encode"): _Builder(_encoded),
    ("copyreg", "_reconstructor"): _Builder(_reconstructed),
    ("builtins", "object"): object,
    ("uuid", "UUID"): _UUID,
}


class _Reader(values.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        # Protocol 0 has the names of Python 2.
        module, name = NAME_MAPPING.get((module, name), (IMPORT_MAPPING.get(module, module), name))
        known = _NAMES.get((module, name))
        return super().find_class(module, name) if known is None else known


def written(item: Any) -> str:
    r"""An item, pickled as text that any Python client of Hazelcast reads.

    Example:
        >>> read(written(("é", b"\xff", {1: None})))
        ('é', b'\xff', {1: None})

    Raises:
        SerializationError: For code, or what cannot be pickled.
    """
    values.encode(item)  # refuses what no reader would take
    # Protocol 0 leaves letters of Latin-1 as they are, which the client cannot read as UTF-8.
    return _HIGH.sub(lambda found: f"\\u{ord(found[0]):04x}", pickle.dumps(item, 0).decode("latin-1"))


def read(text: str) -> Any:
    """The item out of what `written`, or a Python client, has pickled.

    Raises:
        UnknownTypeError: When it names a class that this process has not registered.
        SerializationError: When it is no pickle.
    """
    try:
        return _Reader(io.BytesIO(text.encode("utf-8", "surrogatepass"))).load()
    except SerializationError:
        raise
    except Exception as error:  # foreign bytes can make pickle raise nearly anything
        raise SerializationError(f"what was pickled cannot be read: {type(error).__name__}: {error}") from error
