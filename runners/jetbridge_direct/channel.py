"""Messages between the client, the fork server and the workers.

A message is one pickled object behind its length; open file descriptors can
travel with it. Both ends run the same code under the same user, and the sockets
are unnamed pairs that nobody else can connect to, so pickle is safe here.
"""

from __future__ import annotations

import fcntl
import os
import pickle
import socket
import struct
import tempfile
import threading
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

_HEADER = struct.Struct("!QB")  # length of the pickle, number of descriptors beside it
_MAX_DESCRIPTORS = 8


class Channel:
    """One end of a socket pair that carries whole messages.

    Example:
        >>> import socket
        >>> from jetbridge_direct.channel import Channel
        >>> near, far = (Channel(end) for end in socket.socketpair())
        >>> near.send({"type": "ended"})
        >>> far.recv()
        {'type': 'ended'}
        >>> near.close()
        >>> far.recv() is None
        True
        >>> far.close()

    Any thread may send. One thread at a time receives.

    Args:
        sock: A connected stream socket; the channel owns it from now on.
        shared: True when processes that are forked later send on it too (a pool
            of a worker). Their messages then do not run into each other.
    """

    def __init__(self, sock: socket.socket, *, shared: bool = False) -> None:
        self._sock = sock
        self._pid = os.getpid()
        self._lock = threading.Lock()
        # A POSIX lock belongs to a process and is let go when that process dies, even by SIGKILL.
        self._process_lock = tempfile.TemporaryFile(buffering=0) if shared else None  # noqa: SIM115

    def fileno(self) -> int:
        """The socket's descriptor, for ``select``."""
        return self._sock.fileno()

    def send(self, message: Any, descriptors: Sequence[int] = ()) -> None:
        """Send one message.

        Args:
            message: A picklable object.
            descriptors: Open file descriptors that the receiver gets copies of.

        Raises:
            OSError: When the other end is closed.
        """
        data = pickle.dumps(message, protocol=5)
        header = _HEADER.pack(len(data), len(descriptors))
        with self._exclusive():
            if descriptors:
                sent = socket.send_fds(self._sock, [header], list(descriptors))
                self._sock.sendall(header[sent:])
                self._sock.sendall(data)
            else:
                self._sock.sendall(header + data)

    def recv(self) -> Any:
        """Receive one message; None when the other end is closed, also in the middle of a message."""
        return self.recv_with_descriptors()[0]

    def recv_with_descriptors(self) -> tuple[Any, list[int]]:
        """Receive one message and the descriptors that came with it; they are not inheritable."""
        descriptors: list[int] = []
        try:
            header, descriptors, _, _ = socket.recv_fds(self._sock, _HEADER.size, _MAX_DESCRIPTORS)
            header += self._exactly(_HEADER.size - len(header)) if header else b""
            if not header:
                return None, []
            length, count = _HEADER.unpack(header)
            message = pickle.loads(self._exactly(length))
        except (EOFError, ConnectionError):
            for descriptor in descriptors:
                os.close(descriptor)
            return None, []
        for descriptor in descriptors:
            os.set_inheritable(descriptor, False)
        assert len(descriptors) == count, "descriptors were lost on their way"
        return message, descriptors

    def close(self) -> None:
        """Close this end; the other one receives None."""
        if self._process_lock is not None:
            self._process_lock.close()
        self._sock.close()

    def _exactly(self, size: int) -> bytearray:
        data = bytearray(size)
        view = memoryview(data)
        while view:
            received = self._sock.recv_into(view)
            if not received:
                raise EOFError
            view = view[received:]
        return data

    @contextmanager
    def _exclusive(self) -> Iterator[None]:
        if os.getpid() != self._pid:  # forked: a lock that another thread held in the parent stays held for ever
            self._pid, self._lock = os.getpid(), threading.Lock()
        with ExitStack() as stack:
            stack.enter_context(self._lock)
            if self._process_lock is not None:
                fcntl.lockf(self._process_lock, fcntl.LOCK_EX)
                stack.callback(fcntl.lockf, self._process_lock, fcntl.LOCK_UN)
            yield
