"""Members of a Hazelcast cluster on this machine, for trying out and for tests: ``jetbridge hazelcast start``.

A member is the open-source server in a Java process. Its jar comes by Maven
coordinates (``hazelcast.txt``), its Java is that of the extra ``hazelcast``. It
listens on the loopback address only, finds others there alone, and calls nobody.
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jetbridge.errors import ClusterError
from jetbridge.java import java
from jetbridge.processes import LOOPBACK, dying_with, free_ports

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from types import TracebackType

    from typing_extensions import Self

JAVA_VERSIONS = (17, 21)
"""The versions of Java that the server is made for."""

_MAIN = "com.hazelcast.core.server.HazelcastMemberStarter"
_STARTED = "is STARTED"
_START_SECONDS = 90.0
_END_SECONDS = 20.0
_POLL = 0.05
_TAIL = 2000  # characters of what it said last, for errors
_OPENS = [
    "--add-modules=java.se",
    "--add-exports=java.base/jdk.internal.ref=ALL-UNNAMED",
    *(
        f"--add-opens={package}=ALL-UNNAMED"
        for package in (
            "java.base/java.lang",
            "java.base/sun.nio.ch",
            "java.management/sun.management",
            "jdk.management/com.sun.management.internal",
        )
    ),
]


class Member:
    """A running member.

    Example:
        ::

            with Member() as member:
                client = hazelcast.HazelcastClient(cluster_members=[member.address])

    Args:
        port: Its port; a free one by default.
        members: The ports of all members of its cluster, its own among them; it alone by default.
        cluster_name: The cluster's name.
        memory: How much Java's heap may hold, in MB.
        config: More of the server's configuration, as in its YAML file, such as ``{"ringbuffer": {…}}``.
        java_home: The JDK to run it with; that of the extra by default.
        folder: Where its configuration and its output go; a temporary folder by default.
        progress: Is told what takes long.

    Attributes:
        port: Its port.
        address: "127.0.0.1:port", as clients are given it.
        process: Its process.

    Raises:
        ClusterError: When there is no Java or no jar for it, or it does not start.
    """

    def __init__(
        self,
        *,
        port: int | None = None,
        members: Sequence[int] = (),
        cluster_name: str = "dev",
        memory: int = 512,
        config: Mapping[str, Any] | None = None,
        java_home: str | os.PathLike[str] | None = None,
        folder: Path | None = None,
        progress: Callable[[str], None] | None = None,
    ) -> None:
        executable = java(java_home, runs="Hazelcast", versions=JAVA_VERSIONS, extra="hazelcast")
        [jar] = _jars(progress)
        self.port = free_ports(1)[0] if port is None else port
        self.address = f"{LOOPBACK}:{self.port}"
        self._own = tempfile.TemporaryDirectory(prefix="jetbridge-hazelcast-") if folder is None else None
        self._folder = Path(self._own.name) if self._own is not None else Path(str(folder))
        self.output = self._folder / f"member-{self.port}.out"
        file = self._folder / f"member-{self.port}.yaml"
        # JSON is YAML, too.
        file.write_text(json.dumps({"hazelcast": _config(self.port, members or [self.port], cluster_name, config)}))
        command = [str(executable), f"-Xmx{memory}m", "-XX:+UseSerialGC", "-XX:-UsePerfData", *_OPENS]
        command += [f"-Dhazelcast.config={file}", "-Djava.net.preferIPv4Stack=true", "-cp", str(jar), _MAIN]
        with self.output.open("wb") as out:
            self.process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=subprocess.STDOUT,
                cwd=self._folder,
                preexec_fn=dying_with(os.getpid()),
            )

    def wait_until_started(self) -> Self:
        """Wait until it can be used.

        Raises:
            ClusterError: When it has ended, or takes too long; the message has the last that it said.
        """
        deadline = time.monotonic() + _START_SECONDS
        while _STARTED not in self.said():
            if self.process.poll() is not None:
                raise ClusterError(f"Hazelcast could not be started on port {self.port}:\n{self.said()[-_TAIL:]}")
            if time.monotonic() > deadline:
                self.kill()
                raise ClusterError(
                    f"Hazelcast did not start within {_START_SECONDS:.0f} s on port {self.port}:\n"
                    f"{self.said()[-_TAIL:]}"
                )
            time.sleep(_POLL)
        return self

    def said(self) -> str:
        """What it has logged."""
        return self.output.read_text(errors="replace")

    def stop(self) -> None:
        """End it in order: it hands what it has to the other members first. Called again, it does nothing."""
        self.process.terminate()
        try:
            self.process.wait(_END_SECONDS)
        except subprocess.TimeoutExpired:
            self.process.kill()
        self._clean()

    def kill(self) -> None:
        """End it at once, as a crash of its machine would."""
        self.process.kill()
        self._clean()

    def _clean(self) -> None:
        self.process.wait(_END_SECONDS)
        if self._own is not None:
            with contextlib.suppress(OSError):
                self._own.cleanup()

    def __enter__(self) -> Self:
        try:
            return self.wait_until_started()
        except BaseException:
            self.kill()
            raise

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()


def _jars(progress: Callable[[str], None] | None) -> list[Path]:
    from jetbridge.beam.jars import fetch, read_table

    return fetch(read_table(Path(__file__).with_name("hazelcast.txt")), "Hazelcast's server", progress)


def _config(port: int, members: Sequence[int], name: str, more: Mapping[str, Any] | None) -> dict[str, Any]:
    """The server's configuration: loopback only, no multicast, no calls home."""
    own: dict[str, Any] = {
        "cluster-name": name,
        "network": {
            "port": {"port": port, "auto-increment": False},
            "public-address": f"{LOOPBACK}:{port}",
            "interfaces": {"enabled": True, "interfaces": [LOOPBACK]},
            "join": {
                "auto-detection": {"enabled": False},
                "multicast": {"enabled": False},
                "tcp-ip": {"enabled": True, "member-list": [f"{LOOPBACK}:{each}" for each in members]},
            },
        },
        "properties": {
            "hazelcast.phone.home.enabled": "false",
            "hazelcast.socket.bind.any": "false",
            "hazelcast.logging.type": "jdk",
            # Its shutdown hook moves partitions to the other members; a member that is alone has none to wait for.
            "hazelcast.shutdownhook.policy": "GRACEFUL" if len(members) > 1 else "TERMINATE",
            "hazelcast.wait.seconds.before.join": "0",
        },
    }
    for section, content in (more or {}).items():
        own[section] = {**own[section], **content} if section in ("network", "properties") else content
    return own
