"""Keeps the servers of Beam's runner on this machine.

Where Flink's TaskManager talks to Python's workers, Beam makes gRPC servers by
``NettyServerBuilder.forPort(address.getPort())``, which listens on every
interface without any authentication, and no option changes that. So one class of
the runner is changed on its way into the class path: ``forAddress(address)``, with
the loopback address that Beam had at hand. It is a matter of two instructions:

    aload_1; invokevirtual getPort; invokestatic forPort        becomes
    aload_1; nop; nop; nop;         invokestatic forAddress

It costs nothing: Beam tells the workers to connect to "localhost" in any case.
"""

from __future__ import annotations

import struct

from jetbridge.errors import ClusterError
from jetbridge_flink.class_files import NAME_AND_TYPE, ClassFile, utf8

JAR = "beam-sdks-java-core-"
CLASS = "org/apache/beam/sdk/fn/server/ServerFactory$InetSocketAddressServerFactory.class"
_BUILDER = "/io/grpc/netty/NettyServerBuilder"
_ALOAD_1, _INVOKEVIRTUAL, _INVOKESTATIC, _NOP = b"\x2b", b"\xb6", b"\xb8", b"\x00"


def on_loopback(code: bytes) -> bytes:
    """Change the class that makes Beam's servers.

    Args:
        code: The class file.

    Raises:
        ClusterError: When it does not do what is to be changed.
    """
    constants = ClassFile(code)

    def method(owner: str, name: str, descriptor: str) -> int:
        number = constants.method(owner, name, descriptor)
        if number is None:
            raise ClusterError(f"Beam's runner does not make its servers as expected: it never calls {name}")
        return number

    get_port = method("java/net/InetSocketAddress", "getPort", "()I")
    for_port = method(_BUILDER, "forPort", "(I)")
    call = _INVOKESTATIC + struct.pack(">H", for_port)
    before = _ALOAD_1 + _INVOKEVIRTUAL + struct.pack(">H", get_port) + call
    if code.count(before) != 1:
        raise ClusterError("Beam's runner does not make its servers as expected: forPort is not called once")
    builder = constants.text(constants.pair(constants.pair(for_port)[1])[1]).removeprefix("(I)")
    count, end = constants.count, constants.end
    added = b"".join(
        (
            utf8("forAddress"),
            utf8(f"(Ljava/net/SocketAddress;){builder}"),
            struct.pack(">BHH", NAME_AND_TYPE, count, count + 1),
        )
    )
    place = constants.place(for_port) + 3  # where the constant for the method says which name and type it has
    table = code[10:place] + struct.pack(">H", count + 2) + code[place + 2 : end]
    body = code[end:].replace(before, _ALOAD_1 + 3 * _NOP + call)
    return code[:8] + struct.pack(">H", count + 3) + table + added + body
