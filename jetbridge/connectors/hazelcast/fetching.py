"""What the protocol has and the Python client does not offer: a map's entries in pages, and items as bytes.

The pages are those of the Java client's iterator (``Map.FetchEntries``), each of one
partition of the cluster. They are found by pointers into the hash table, which the member
keeps right when that grows: an entry that nobody touches comes exactly once.
"""

from __future__ import annotations

import struct
from typing import Any

_REQUEST = 0x013800
_START = (0x7FFFFFFF, -1)  # before the first slot, of a table of unknown size
_PAIR = struct.Struct("<ii")
_FRAME = struct.Struct("<IH")

Pointers = list[tuple[int, int]]


def first() -> Pointers:
    """Where a partition begins."""
    return [_START]


def is_last(pointers: Pointers) -> bool:
    """Whether nothing comes behind."""
    return pointers[-1][0] < 0


def fetch(proxy: Any, partition: int, pointers: Pointers, count: int) -> Any:
    """Ask for a page of entries.

    Args:
        proxy: The client's map.
        partition: The partition of the cluster.
        pointers: Where the page begins.
        count: About how many entries.

    Returns:
        A future of the next pointers and the entries, as pairs of the client's ``Data``.
    """
    return proxy._invoke_on_partition(_encoded(proxy.name, pointers, count), partition, _decoded)


def _encoded(name: str, pointers: Pointers, count: int) -> Any:
    from hazelcast.protocol.builtin import FixSizedTypesCodec, StringCodec
    from hazelcast.protocol.client_message import REQUEST_HEADER_SIZE, OutboundMessage, create_initial_buffer

    buffer = create_initial_buffer(REQUEST_HEADER_SIZE + 4, _REQUEST)
    FixSizedTypesCodec.encode_int(buffer, REQUEST_HEADER_SIZE, count)
    StringCodec.encode(buffer, name)
    size = _FRAME.size + _PAIR.size * len(pointers)
    buffer.extend(_FRAME.pack(size, 1 << 13))  # the message's last frame
    for pair in pointers:
        buffer.extend(_PAIR.pack(*pair))
    return OutboundMessage(buffer, True)  # it may be asked again


def _decoded(message: Any) -> tuple[Pointers, list[tuple[Any, Any]]]:
    from hazelcast.protocol.builtin import DataCodec, EntryListCodec

    message.next_frame()
    pairs = message.next_frame().buf
    pointers = [_PAIR.unpack_from(pairs, at) for at in range(0, len(pairs), _PAIR.size)]
    return pointers, EntryListCodec.decode(message, DataCodec.decode, DataCodec.decode)


def list_items(proxy: Any, start: int, stop: int) -> Any:
    """Ask for the items of a list between two indexes: a future of the client's ``Data``."""
    from hazelcast.protocol.codec import list_sub_codec

    return proxy._invoke(list_sub_codec.encode_request(proxy.name, start, stop), list_sub_codec.decode_response)


def ring_items(proxy: Any, start: int, count: int) -> tuple[int, list[Any]]:
    """Items of a ringbuffer as the client's ``Data``, and the number of the first: later than asked if overwritten."""
    from hazelcast.protocol.codec import ringbuffer_read_many_codec

    request = ringbuffer_read_many_codec.encode_request(proxy.name, start, 0, count, None)
    answer = proxy._invoke(request, ringbuffer_read_many_codec.decode_response).result()
    return answer["next_seq"] - answer["read_count"], answer["items"]
