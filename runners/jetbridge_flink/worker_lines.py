"""Messages between the processes of a worker pool: JSON objects, one a line, on a socket."""

from __future__ import annotations

import json
import threading
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import socket


class Lines:
    """One end of a connection.

    Args:
        sock: A connected stream socket.
    """

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self._rest = b""
        self._sending = threading.Lock()

    def fileno(self) -> int:
        """The socket's descriptor, for select."""
        return self._sock.fileno()

    def send(self, message: dict[str, Any]) -> None:
        """Send one message; any thread may.

        Raises:
            OSError: When the other end is gone.
        """
        line = json.dumps(message).encode() + b"\n"
        with self._sending:
            self._sock.sendall(line)

    def receive(self) -> list[dict[str, Any]] | None:
        """Wait until something comes, and return the messages that are complete; None when the other end is gone."""
        try:
            data = self._sock.recv(1 << 16)
        except ConnectionError:
            data = b""
        if not data:
            return None
        *lines, self._rest = (self._rest + data).split(b"\n")
        return [json.loads(line) for line in lines]

    def close(self) -> None:
        """Close the socket."""
        self._sock.close()
