"""Keeps what Beam's runner notes of a source that goes on from growing without end.

A source that reads a stream stops after each bundle and says where it will go on: a
residual, which the runner keeps in Flink's state until a timer takes it up again. Its
class `StateAndTimerBundleCheckpointHandler` gives each residual a name of its own, out
of a counter. A name is a state of its own for Flink, with tables for all key groups that
are never removed (apache/beam#27648): at 75 residuals a second a TaskManager grew by
5 GB in ten minutes, and checkpoints by a megabyte each minute.

State is kept by key, and the key of a residual is its partition, of which nothing else
waits at that time. So one name is enough. The counter's value becomes an empty text:

    aload_0; getfield idGenerator; invokeinterface getId; astore_2      becomes
    ldc ""; astore_2; nop; nop; nop; nop; nop; nop; nop
"""

from __future__ import annotations

import struct

from jetbridge.errors import ClusterError
from jetbridge_flink.class_files import ClassFile

JAR = "beam-runners-java-fn-execution-"
CLASS = (
    "org/apache/beam/runners/fnexecution/control/BundleCheckpointHandlers$StateAndTimerBundleCheckpointHandler.class"
)
_ALOAD_0, _GETFIELD, _INVOKEINTERFACE, _ASTORE_2 = b"\x2a", b"\xb4", b"\xb9", b"\x4d"
_LDC, _NOP = b"\x12", b"\x00"


def under_one_name(code: bytes) -> bytes:
    """Change the class that keeps residuals.

    Args:
        code: The class file.

    Raises:
        ClusterError: When it does not do what is to be changed.
    """
    constants = ClassFile(code)
    get_id, empty = constants.method("/IdGenerator", "getId", "()"), constants.string("")
    if get_id is None or empty is None or empty > 0xFF:
        raise ClusterError("Beam's runner does not name residuals as expected: it never calls getId")
    called = _INVOKEINTERFACE + struct.pack(">HBB", get_id, 1, 0) + _ASTORE_2
    at = code.find(called, constants.end) - 4
    if code.count(called, constants.end) != 1 or code[at : at + 2] != _ALOAD_0 + _GETFIELD:
        raise ClusterError("Beam's runner does not name residuals as expected: getId is not called once")
    instead = _LDC + bytes([empty]) + _ASTORE_2
    size = 4 + len(called)
    return code[:at] + instead + (size - len(instead)) * _NOP + code[at + size :]
