"""Items as a Hazelcast cluster keeps them: what its Python client writes, with four differences.

Integers that need more than 32 bits are written as 64 bits, and beyond as
BigInteger, where the client would refuse them; a date and time without a zone
stays without one, and one with a zone keeps its instant; text of any letters can
be inside what is pickled, as tuples, dicts, sets and bytes are; and what others
have pickled is read by jetbridge's reader, which runs no code of theirs.
"""

from __future__ import annotations

import datetime
import decimal
import functools
import reprlib
from typing import TYPE_CHECKING, Any

from jetbridge.connectors.hazelcast import pickles, plain
from jetbridge.errors import SerializationError

if TYPE_CHECKING:
    from collections.abc import Iterable


def dressed(service: Any) -> Any:
    """A client's serialization service, changed in place as this module says."""
    from hazelcast.serialization import serialization_const as types

    registry = service._registry
    lookup, by_id = registry.lookup_default_serializer, registry.serializer_by_type_id
    widen = registry._int_type_id == types.CONSTANT_TYPE_INTEGER
    pickler = _python_serializer()
    naive, aware = _time_serializers()

    def lookup_default(kind: type, item: Any) -> Any:
        if kind is int and widen and not -0x80000000 <= item <= 0x7FFFFFFF:
            fits = -0x8000000000000000 <= item <= 0x7FFFFFFFFFFFFFFF
            return by_id(types.CONSTANT_TYPE_LONG if fits else types.JAVA_DEFAULT_TYPE_BIG_INTEGER)
        if kind is datetime.datetime:
            return naive if item.tzinfo is None else aware
        if (kind is decimal.Decimal and not item.is_finite()) or (kind is datetime.time and item.tzinfo is not None):
            return pickler  # Java has none such
        return lookup(kind, item)

    registry.lookup_default_serializer = lookup_default
    if service._global_serializer is None:
        registry._python_serializer = service._python_serializer = pickler
        registry._id_dict[types.PYTHON_TYPE_PICKLE] = pickler
    return service


def _python_serializer() -> Any:
    from hazelcast.serialization import serialization_const as types
    from hazelcast.serialization.api import StreamSerializer

    class PythonSerializer(StreamSerializer):  # type: ignore[misc]
        """Pickles as the client's own does; see `pickles`."""

        def write(self, out: Any, obj: Any) -> None:
            out.write_string(pickles.written(obj))

        def read(self, inp: Any) -> Any:
            return pickles.read(inp.read_string())

        def get_type_id(self) -> int:
            return int(types.PYTHON_TYPE_PICKLE)

        def destroy(self) -> None:
            """Holds nothing."""

    return PythonSerializer()


def _time_serializers() -> tuple[Any, Any]:
    from hazelcast.serialization.serializer import LocalDateTimeSerializer, OffsetDateTimeSerializer
    from hazelcast.serialization.util import IOUtil

    class NaiveSerializer(LocalDateTimeSerializer):  # type: ignore[misc]
        """The client's own can only read."""

        def write(self, out: Any, obj: datetime.datetime) -> None:
            IOUtil.write_timestamp(out, obj)

    class AwareSerializer(OffsetDateTimeSerializer):  # type: ignore[misc]
        """Writes the offset that holds at that time, which the client's own forgets for named zones."""

        def write(self, out: Any, obj: datetime.datetime) -> None:
            super().write(out, obj.replace(tzinfo=datetime.timezone(obj.utcoffset() or datetime.timedelta())))

    return NaiveSerializer(), AwareSerializer()


class Encoder:
    """Turns items into the bytes that the cluster keeps, without a connection to it.

    Args:
        config: The client's configuration, as `HazelcastCluster.client_config` gives it.

    Attributes:
        schemas: The schemas of Compact serialization that the items so far needed, with their classes:
            the cluster must know them before the bytes.
    """

    def __init__(self, config: Any) -> None:
        from hazelcast.config import IntType
        from hazelcast.serialization import SerializationServiceV1

        self._service = dressed(SerializationServiceV1(config))
        self._plain = bool(config.is_big_endian and config.default_int_type == IntType.INT)
        self.schemas: list[tuple[Any, type]] = []

    def encode(self, item: Any) -> bytes:
        """The bytes of an item.

        Raises:
            SerializationError: When it cannot be carried.
        """
        quick = plain.encoded(item) if self._plain else None
        return self._by_client(item) if quick is None else quick

    def _by_client(self, item: Any) -> bytes:
        from hazelcast.serialization.compact import SchemaNotReplicatedError

        while True:
            try:
                return bytes(self._service.to_data(item).buffer)
            except SchemaNotReplicatedError as needed:
                self._service.compact_stream_serializer.register_schema_to_type(needed.schema, needed.clazz)
                self.schemas.append((needed.schema, needed.clazz))
            except Exception as error:
                raise unfit(item, error) from error


def teach(client: Any, schemas: list[tuple[Any, type]]) -> None:
    """Have the cluster know schemas of Compact serialization, before bytes that need them."""
    from hazelcast.future import ImmediateFuture
    from hazelcast.serialization.compact import SchemaNotReplicatedError

    known = client._serialization_service.compact_stream_serializer._id_to_schema
    for schema, kind in schemas:
        if schema.schema_id not in known:
            needed = SchemaNotReplicatedError(schema, kind)
            client._compact_schema_service.send_schema_and_retry(needed, lambda: ImmediateFuture(None)).result()


def read(client: Any, contents: list[Any]) -> list[Any]:
    """The items of some of a client's ``Data``.

    Raises:
        Exception: Whatever the client's serializers raise.
    """
    decoded = plain.decoder(client._serialization_service)
    while True:
        try:
            return list(map(decoded, contents))
        except Exception as error:
            if type(error).__name__ != "SchemaNotFoundError":
                raise
            service, number = client._compact_schema_service, error.schema_id  # type: ignore[attr-defined]
            service.register_fetched_schema(number, service.fetch_schema(number).result())


def data_of(contents: Iterable[bytes]) -> list[Any]:
    """The client's ``Data`` of bytes."""
    from hazelcast.serialization.data import Data

    return list(map(Data, contents))


def partition_hash(content: bytes) -> int:
    """By what the client finds the partition of a key."""
    from hazelcast.serialization.data import Data

    return int(Data(content).get_partition_hash())


@functools.cache
def _hashed() -> type:
    from hazelcast.serialization.data import Data

    class HashedData(Data):  # type: ignore[misc]
        """A key whose hash is known: the client works it out several times, in Python."""

        __slots__ = ("_hash",)

        def __init__(self, content: bytes, number: int) -> None:
            self.buffer = content  # type: ignore[misc]  # a slot of Data
            self._hash = number

        def get_partition_hash(self) -> int:
            return self._hash

        def __hash__(self) -> int:
            return self._hash

        def __eq__(self, other: object) -> bool:
            return isinstance(other, Data) and bool(self.buffer == other.buffer)

    return HashedData


def keys_of(numbered: Iterable[tuple[bytes, int]]) -> list[Any]:
    """The client's ``Data`` of keys.

    Args:
        numbered: The bytes of each and their `partition_hash`.
    """
    kind = _hashed()
    return [kind(content, number) for content, number in numbered]


def unfit(item: Any, error: Exception) -> SerializationError:
    """The error for an item that cannot be carried."""
    why = error.args[0] if error.args and isinstance(error.args[0], str) else str(error)
    try:
        shown = reprlib.repr(item)
    except Exception:  # a broken __repr__ must not hide the real error
        shown = "an item"
    return SerializationError(
        f"{shown} ({type(item).__name__}) cannot be kept in a Hazelcast cluster: {why or type(error).__name__}; map it "
        "to numbers, text, lists or dicts, or give the client's config a serializer for its class (compact_serializers)"
    )
