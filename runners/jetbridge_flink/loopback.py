"""Keeps the servers of Beam's runner on this machine.

Where Flink's TaskManager talks to Python's workers, Beam makes gRPC servers by
``NettyServerBuilder.forPort(address.getPort())``, which listens on every
interface without any authentication, and no option changes that. So one class of
the runner is changed on its way into the class path: ``forAddress(address)``, with
the loopback address that Beam had at hand. It is a matter of two instructions:

    aload_1; invokevirtual getPort; invokestatic forPort        becomes
    aload_1; nop; nop; nop;         invokestatic forAddress

The changed class lies in a small jar that comes first in the class path of the
embedded cluster, and in a job's jar when that brings the runner with it. It costs
nothing: Beam tells the workers to connect to "localhost" in any case.
"""

from __future__ import annotations

import io
import os
import struct
import zipfile
from typing import TYPE_CHECKING

from jetbridge.errors import ClusterError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

_JAR = "beam-sdks-java-core-"
_CLASS = "org/apache/beam/sdk/fn/server/ServerFactory$InetSocketAddressServerFactory.class"
_BUILDER = "/io/grpc/netty/NettyServerBuilder"
_ALOAD_1, _INVOKEVIRTUAL, _INVOKESTATIC, _NOP = b"\x2b", b"\xb6", b"\xb8", b"\x00"
_UTF8, _NAME_AND_TYPE, _METHODREF = 1, 12, 10
_SIZES = {3: 4, 4: 4, 5: 8, 6: 8, 7: 2, 8: 2, 9: 4, 10: 4, 11: 4, 12: 4, 15: 3, 16: 2, 17: 4, 18: 4, 19: 2, 20: 2}
"""The sizes of a class file's constants, by tag (Java Virtual Machine Specification, 4.4)."""


def loopback_jar(jars: Sequence[Path]) -> Path:
    """The jar with the changed class, for the runner's jars; it lies beside them.

    Args:
        jars: The runner's jars, verified.

    Raises:
        ClusterError: When the class is not as expected, or the jar cannot be written.
    """
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as jar:
        for name, code in changed_classes(jars).items():
            jar.writestr(zipfile.ZipInfo(name), code)  # without a time: the same bytes whenever it is made
    source = _source(jars)
    path = source.with_name(f"jetbridge-loopback-{source.name.removeprefix(_JAR)}")
    try:
        if not path.exists() or path.read_bytes() != out.getvalue():
            aside = path.with_suffix(f".{os.getpid()}")
            aside.write_bytes(out.getvalue())
            aside.replace(path)
    except OSError as error:
        raise ClusterError(f"{path} cannot be written: {error.strerror}") from error
    return path


def changed_classes(jars: Sequence[Path]) -> dict[str, bytes]:
    """The classes that take the place of the runner's own, by their names in a jar.

    Raises:
        ClusterError: When they are not as expected.
    """
    with zipfile.ZipFile(_source(jars)) as archive:
        return {_CLASS: on_loopback(archive.read(_CLASS))}


def _source(jars: Sequence[Path]) -> Path:
    return next(path for path in jars if path.name.startswith(_JAR))


def on_loopback(code: bytes) -> bytes:
    """Change the class that makes Beam's servers.

    Args:
        code: The class file.

    Raises:
        ClusterError: When it does not do what is to be changed.
    """
    places, end, count = _constants(code)
    texts = {
        number: code[place + 3 : place + 3 + struct.unpack_from(">H", code, place + 1)[0]].decode("latin-1")
        for number, place in places.items()
        if code[place] == _UTF8
    }

    def pair(number: int) -> tuple[int, int]:
        first, second = struct.unpack_from(">HH", code, places[number] + 1)
        return first, second

    def method(owner: str, name: str, descriptor: str) -> int:
        for number, place in places.items():
            if code[place] == _METHODREF:
                class_number, name_and_type = pair(number)
                [of] = struct.unpack_from(">H", code, places[class_number] + 1)
                called, kind = (texts[each] for each in pair(name_and_type))
                if texts[of].endswith(owner) and called == name and kind.startswith(descriptor):
                    return number
        raise ClusterError(f"Beam's runner does not make its servers as expected: it never calls {name}")

    get_port = method("java/net/InetSocketAddress", "getPort", "()I")
    for_port = method(_BUILDER, "forPort", "(I)")
    call = _INVOKESTATIC + struct.pack(">H", for_port)
    before = _ALOAD_1 + _INVOKEVIRTUAL + struct.pack(">H", get_port) + call
    if code.count(before) != 1:
        raise ClusterError("Beam's runner does not make its servers as expected: forPort is not called once")
    builder = texts[pair(pair(for_port)[1])[1]].removeprefix("(I)")
    added = b"".join(
        (
            _utf8("forAddress"),
            _utf8(f"(Ljava/net/SocketAddress;){builder}"),
            struct.pack(">BHH", _NAME_AND_TYPE, count, count + 1),
        )
    )
    place = places[for_port] + 3  # where the constant for the method says which name and type it has
    constants = code[10:place] + struct.pack(">H", count + 2) + code[place + 2 : end]
    body = code[end:].replace(before, _ALOAD_1 + 3 * _NOP + call)
    return code[:8] + struct.pack(">H", count + 3) + constants + added + body


def _constants(code: bytes) -> tuple[dict[int, int], int, int]:
    """Where each constant of a class file begins, by number, where they end, and what their count is said to be."""
    [count] = struct.unpack_from(">H", code, 8)
    places, place, number = {}, 10, 1
    while number < count:
        places[number] = place
        tag = code[place]
        place += 1 + (2 + struct.unpack_from(">H", code, place + 1)[0] if tag == _UTF8 else _SIZES[tag])
        number += 2 if tag in (5, 6) else 1  # a long or a double takes two numbers
    return places, place, count


def _utf8(text: str) -> bytes:
    return struct.pack(">BH", _UTF8, len(text)) + text.encode("latin-1")
