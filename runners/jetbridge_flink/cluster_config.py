"""How the embedded cluster is set up: Flink's configuration and the commands of its Java processes."""

from __future__ import annotations

import json
import os
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from jetbridge.errors import ClusterError
from jetbridge.extras import install
from jetbridge.java import java
from jetbridge.processes import LOOPBACK
from jetbridge_flink import memory

if TYPE_CHECKING:
    from collections.abc import Sequence

    from jetbridge_flink.layout import Layout
    from jetbridge_flink.memory import Memory

JAVA_VERSIONS = (11, 17)
"""The versions of Java that Flink 1.19 and Beam's runner for it are made for."""

_MAIN = {
    "jobmanager": "org.apache.flink.runtime.entrypoint.StandaloneSessionClusterEntrypoint",
    "taskmanager": "org.apache.flink.runtime.taskexecutor.TaskManagerRunner",
}
_LIBRARIES = ("flink-dist-", "log4j-")  # of the many in Flink's lib folder: no table planner, no Scala
_OPENED = "lang lang.reflect net io nio text time util util.concurrent util.concurrent.atomic util.concurrent.locks"
_OPENS = [f"--add-opens=java.base/java.{package}=ALL-UNNAMED" for package in _OPENED.split()] + [
    "--add-opens=java.base/sun.nio.ch=ALL-UNNAMED",
    "--add-exports=java.base/sun.net.util=ALL-UNNAMED",
    "--add-exports=java.rmi/sun.rmi.registry=ALL-UNNAMED",
    "--add-exports=java.security.jgss/sun.security.krb5=ALL-UNNAMED",
]
_QUICK = [
    # Only the first compiler: with the second one, the start of a cluster and its first job take twice the processor
    # time, for code that hands Python's chunks on.
    "-XX:TieredStopAtLevel=1",
    "-XX:-UsePerfData",
    "-Dlog4j2.disable.jmx=true",
    "-Djava.net.preferIPv4Stack=true",
    "-XX:+ExitOnOutOfMemoryError",
]
_FOREIGN = ("JAVA_TOOL_OPTIONS", "JDK_JAVA_OPTIONS", "_JAVA_OPTIONS", "CLASSPATH", "FLINK_", "HADOOP_", "YARN_")
_LOG4J = """\
rootLogger.level = INFO
rootLogger.appenderRef.file.ref = file
appender.file.name = file
appender.file.type = RollingFile
appender.file.fileName = ${sys:jetbridge.log}
appender.file.filePattern = ${sys:jetbridge.log}.%i
appender.file.layout.type = PatternLayout
appender.file.layout.pattern = %d{yyyy-MM-dd HH:mm:ss,SSS} %-5p %c{1} - %m%n
appender.file.policies.type = Policies
appender.file.policies.size.type = SizeBasedTriggeringPolicy
appender.file.policies.size.size = 10MB
appender.file.strategy.type = DefaultRolloverStrategy
appender.file.strategy.max = 2
"""


def flink_libraries() -> list[Path]:
    """The libraries of Flink that a cluster needs, out of the package apache-flink-libraries.

    Raises:
        ClusterError: When it is not installed.
    """
    spec = find_spec("pyflink")
    lib = Path(next(iter(spec.submodule_search_locations or [""])), "lib") if spec else None
    found = [] if lib is None else sorted(path for path in lib.glob("*.jar") if path.name.startswith(_LIBRARIES))
    if not any(path.name.startswith("flink-dist-") for path in found):
        raise ClusterError(f"Flink itself is not installed; run: {install('flink')}")
    return found


def write_config(layout: Layout, *, rpc: int, rest: int, slots: int, sizes: Memory) -> None:
    """Write Flink's configuration and that of its logs."""
    (layout.conf / "plugins").mkdir(mode=0o700, exist_ok=True)
    options = _options(layout, rpc, rest, slots, sizes)
    # JSON's strings are YAML's.
    text = "".join(f"{name}: {json.dumps(str(value), ensure_ascii=False)}\n" for name, value in options.items())
    (layout.conf / "config.yaml").write_text(text, encoding="utf-8")
    (layout.conf / "log4j.properties").write_text(_LOG4J)


def _options(layout: Layout, rpc: int, rest: int, slots: int, sizes: Memory) -> dict[str, object]:
    return {
        "jobmanager.rpc.address": LOOPBACK,
        "jobmanager.rpc.port": rpc,
        "jobmanager.bind-host": LOOPBACK,
        "taskmanager.host": LOOPBACK,
        "taskmanager.bind-host": LOOPBACK,
        "taskmanager.resource-id": "taskmanager",  # its successor, after a kill, is known as such at once
        "taskmanager.numberOfTaskSlots": slots,
        "rest.address": LOOPBACK,
        "rest.bind-address": LOOPBACK,
        "rest.port": rest,
        "rest.bind-port": rest,
        "rest.flamegraph.enabled": False,
        "rest.server.max-content-length": 1 << 30,
        "web.submit.enable": True,
        "io.tmp.dirs": layout.scratch,
        "web.tmpdir": layout.scratch,
        # A TaskManager that was killed is noticed when its connection breaks, within seconds. The timeout is for one
        # that hangs; on a busy machine a healthy one may say nothing for a while.
        "heartbeat.interval": 1000,
        "heartbeat.timeout": 15000,
        "cluster.registration.initial-timeout": 100,
        "cluster.registration.error-delay": 200,
        "taskmanager.slot.timeout": "2 s",
        "slot.request.timeout": 60000,
        "cluster.evenly-spread-out-slots": True,
        "web.refresh-interval": 100,  # for so long an answer about a job is given again
        "metrics.fetcher.update-interval": 500,  # the end of a bounded job is seen by its watermarks
        "web.timeout": 10_000,  # for so long metrics stand still when a TaskManager dies that was asked for them
        "execution.buffer-timeout.interval": "10 ms",  # an element is a chunk: it does not wait for company
        "state.backend.type": "hashmap",
        "state.checkpoints.dir": f"file://{layout.checkpoints}",
        "state.savepoints.dir": f"file://{layout.savepoints}",
        "state.checkpoints.num-retained": 2,
        "execution.checkpointing.externalized-checkpoint-retention": "RETAIN_ON_CANCELLATION",
        # For batch jobs, which cannot bring their own: Flink would read everything again, and what is written stays.
        "restart-strategy.type": "none",
        "classloader.check-leaked-classloader": False,  # Beam's threads outlive a job for a moment
        "pekko.framesize": f"{64 << 20}b",  # a list in a pipeline travels with the job
        "taskmanager.jvm-exit-on-oom": True,
        # A TaskManager does not start unless each of these is given.
        "taskmanager.cpu.cores": float(slots),
        "taskmanager.memory.framework.heap.size": f"{memory.FRAMEWORK_HEAP}m",
        "taskmanager.memory.task.heap.size": f"{sizes.taskmanager_heap - memory.FRAMEWORK_HEAP}m",
        "taskmanager.memory.framework.off-heap.size": f"{memory.FRAMEWORK_OFF_HEAP}m",
        "taskmanager.memory.task.off-heap.size": f"{memory.TASK_OFF_HEAP}m",
        "taskmanager.memory.network.min": f"{sizes.network}m",
        "taskmanager.memory.network.max": f"{sizes.network}m",
        "taskmanager.memory.managed.size": f"{sizes.managed}m",
        "taskmanager.memory.jvm-metaspace.size": f"{memory.METASPACE}m",
        "taskmanager.memory.jvm-overhead.min": f"{memory.OVERHEAD}m",
        "taskmanager.memory.jvm-overhead.max": f"{memory.OVERHEAD}m",
    }


def flink_java(java_home: str | os.PathLike[str] | None = None) -> Path:
    """The Java to run Flink with: see `jetbridge.java.java`.

    Raises:
        ClusterError: When there is none, or its version does not fit.
    """
    return java(java_home, runs="Flink", versions=JAVA_VERSIONS, extra="flink")


def java_command(
    name: str, layout: Layout, executable: Path, classpath: Sequence[Path], sizes: Memory, extra: Sequence[str] = ()
) -> list[str]:
    """The command of a Java process.

    Args:
        name: "jobmanager" or "taskmanager".
        layout: Where it finds its configuration.
        executable: The Java to run.
        classpath: Flink's and the runner's jars.
        sizes: The memory of the processes.
        extra: More of Java's own options.
    """
    if name == "jobmanager":
        heap = ["-XX:+UseSerialGC", f"-Xmx{sizes.jobmanager_heap}m", f"-XX:MaxMetaspaceSize={memory.METASPACE}m"]
    else:
        heap = [
            # A small heap is collected soonest by all processors at once; a large one should not stop for long.
            "-XX:+UseParallelGC" if sizes.taskmanager_heap <= 4096 else "-XX:+UseG1GC",
            f"-Xms{min(256, sizes.taskmanager_heap)}m",
            f"-Xmx{sizes.taskmanager_heap}m",
            f"-XX:MaxDirectMemorySize={sizes.direct}m",
            f"-XX:MaxMetaspaceSize={memory.METASPACE}m",
        ]
    return [
        str(executable),
        *_OPENS,
        *_QUICK,
        *heap,
        *extra,
        f"-Djava.io.tmpdir={layout.scratch}",
        f"-Djetbridge.log={name}.log",  # where the process is started: no character of the path can confuse log4j
        f"-Dlog4j.configurationFile={(layout.conf / 'log4j.properties').as_uri()}",
        "-cp",
        os.pathsep.join(map(str, classpath)),
        _MAIN[name],
        "--configDir",
        str(layout.conf),
    ]


def java_environment(layout: Layout) -> dict[str, str]:
    """The environment of a Java process: this one's, without what would change how Java or Flink run."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(_FOREIGN)}
    # Java reads the names of files by the locale. No plugins are needed; an empty folder is quick to look through.
    return {**kept, "LC_ALL": "C.UTF-8", "FLINK_PLUGINS_DIR": str(layout.conf / "plugins")}
