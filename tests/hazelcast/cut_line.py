"""A line to a member that a test can cut, with what is on its way lost in one direction or the other."""

from __future__ import annotations

import contextlib
import socket
import threading

from jetbridge.processes import LOOPBACK


class Line:
    """Passes connections on to a port.

    The member's public address must be that of the line: else clients go to the member itself, once they know it.

    Attributes:
        address: Where clients connect.
        answers: Whether what the member says is passed on.
        questions: Whether what the client says is.
        open: Whether new connections are.
    """

    def __init__(self, port: int) -> None:
        self._port = port
        self.answers = self.questions = self.open = True
        self._sockets: list[socket.socket] = []
        self._own = self._listen(0)
        self.address = f"{LOOPBACK}:{self._own}"

    @property
    def config(self):
        """Options for a client that uses the line."""
        return {"cluster_members": [self.address], "cluster_connect_timeout": 20}

    def cut(self) -> None:
        """Close every connection."""
        sockets, self._sockets = self._sockets, []
        for each in sockets:
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
            each.close()

    def refuse(self) -> None:
        """Close every connection and refuse new ones, as a machine does on which the member does not run."""
        with contextlib.suppress(OSError):
            self._server.shutdown(socket.SHUT_RDWR)
        self._server.close()
        self._accepting.join()
        self.cut()

    def allow(self) -> None:
        """Take connections again, at the same port; nothing if they are taken."""
        if not self._accepting.is_alive():
            self._listen(self._own)

    def close(self) -> None:
        self.open = False
        self.refuse()

    def _listen(self, port: int) -> int:
        self._server = socket.create_server((LOOPBACK, port))
        self._accepting = threading.Thread(target=self._accept, args=(self._server,), daemon=True)
        self._accepting.start()
        return int(self._server.getsockname()[1])

    def _accept(self, server: socket.socket) -> None:
        while True:
            try:
                near, _ = server.accept()
            except OSError:
                return
            if not self.open:
                near.close()
                continue
            try:
                far = socket.create_connection((LOOPBACK, self._port))
            except OSError:  # the member has ended
                near.close()
                continue
            self._sockets += [near, far]
            for source, sink, what in ((near, far, "questions"), (far, near, "answers")):
                threading.Thread(target=self._pass, args=(source, sink, what), daemon=True).start()

    def _pass(self, source: socket.socket, sink: socket.socket, what: str) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(1 << 16):
                if getattr(self, what):
                    sink.sendall(data)
        for each in (source, sink):
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
