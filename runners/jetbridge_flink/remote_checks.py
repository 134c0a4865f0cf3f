"""What would keep a job from running on a remote cluster, found out before it is sent there."""

from __future__ import annotations

import ipaddress
import os
import secrets
import shutil
import socket
import struct
import time
from typing import TYPE_CHECKING

import psutil

from jetbridge.errors import ClusterError
from jetbridge_flink import jars, server_jar
from jetbridge_flink.rest_http import RefusedError, reason

if TYPE_CHECKING:
    from pathlib import Path

    from jetbridge_flink.rest import FlinkRest
    from jetbridge_flink.rest_views import Overview

_CONNECT_SECONDS = 2.0
_DISPOSAL_SECONDS = 15.0
_PAUSE = 0.05
_NOTHING = struct.pack(">iiqii", 0x4960672D, 3, 0, 0, 0)
"""A savepoint of a job without operators: the magic number, the format's version, the checkpoint's id, and how many
states its master hooks and its operators have."""


def is_here(host: str) -> bool:
    """Whether a host is this machine.

    Example:
        >>> is_here("127.0.0.1"), is_here("203.0.113.7")
        (True, False)
    """
    try:
        found = {str(info[4][0]).partition("%")[0] for info in socket.getaddrinfo(host, None)}
    except (OSError, UnicodeError):
        return False
    own = {each.address.partition("%")[0] for addresses in psutil.net_if_addrs().values() for each in addresses}
    return any(address in own or ipaddress.ip_address(address).is_loopback for address in found)


def check_version(rest: FlinkRest, server: Path | None) -> None:
    """Refuse a cluster whose version of Flink does not fit the jars.

    Args:
        rest: The cluster.
        server: The user's own job-server jar, if there is one.

    Raises:
        ClusterError: When it does not.
    """
    version = rest.version()
    minor = ".".join(version.split(".")[:2])
    if server is not None:
        server_jar.check(server)
        fits = server_jar.made_for(server)
        if fits not in (None, minor):
            raise ClusterError(
                f"the Flink cluster at {rest.url} is of version {version}, and {server.name} is made for Flink {fits}: "
                f"give Beam's job-server jar for Flink {minor} (flink_jars)"
            )
    elif minor != jars.FLINK_VERSION:
        raise ClusterError(
            f"the Flink cluster at {rest.url} is of version {version}, and jetbridge has Beam's runner for Flink "
            f"{jars.FLINK_VERSION}: take a cluster of Flink {jars.FLINK_VERSION}, or give Beam's job-server jar for "
            f"Flink {minor} (flink_jars='beam-runners-flink-{minor}-job-server-<release of Beam>.jar')"
        )


def check_submission(rest: FlinkRest) -> None:
    """Refuse a cluster that takes no jobs over REST.

    Raises:
        ClusterError: When it does not.
    """
    if not rest.takes_jars():
        raise ClusterError(
            f"the Flink cluster at {rest.url} does not let jobs be submitted over REST: it must be a session cluster, "
            "with web.submit.enable in its configuration"
        )


def has_jars(rest: FlinkRest) -> bool:
    """Whether the cluster has Beam's runner in its class path, so that a job need not bring it."""
    try:
        return jars.all_among(rest.class_path())
    except (RefusedError, KeyError):
        return False  # what a job brings fits in any case


def check_room(rest: FlinkRest, wanted: int, seconds: float) -> Overview:
    """Wait for free slots.

    Args:
        rest: The cluster.
        wanted: How many.
        seconds: How long to wait.

    Returns:
        What the cluster has then.

    Raises:
        ClusterError: When there are not enough.
    """
    deadline = time.monotonic() + seconds
    while (view := rest.overview()).slots_available < wanted:
        if time.monotonic() > deadline:
            waited = f"jetbridge has waited {seconds:g} s for it"
            if not view.taskmanagers:
                raise ClusterError(f"the Flink cluster at {rest.url} has no TaskManager, and {waited}: start one")
            has = f"{view.slots_available} of its {view.slots_total} slots free ({view.taskmanagers} TaskManagers, "
            has += f"{view.running} jobs)"
            raise ClusterError(
                f"the job needs {wanted} slots, and the Flink cluster at {rest.url} has {has}; {waited}: end other "
                "jobs, add TaskManagers, or give a lower parallelism (connect(parallelism=...))"
            )
        time.sleep(_PAUSE)
    return view


def check_pool(address: str) -> None:
    """Refuse a worker pool that is not there, as far as that can be seen from this machine.

    Raises:
        ClusterError: When it would be on this machine, and nothing listens there.
    """
    host, _, port = address.rpartition(":")
    if not is_here(host.strip("[]")):
        return
    try:
        socket.create_connection((host.strip("[]"), int(port)), _CONNECT_SECONDS).close()
    except OSError as error:
        raise ClusterError(
            f"no worker pool listens at {address} ({error}): start one there, and beside each TaskManager, by "
            f"python -m jetbridge_flink.worker_pool --stay --port {port}"
        ) from error


def check_folders(rest: FlinkRest, checkpoints: Path, savepoints: Path) -> None:
    """Refuse folders that this machine and the cluster do not both read and write.

    The cluster is asked to delete a savepoint that is written here, and holds nothing.

    Raises:
        ClusterError: When they do not; the message says who does not.
    """
    probe = savepoints / f"probe-{secrets.token_hex(8)}"
    try:
        for folder in (checkpoints, savepoints, probe):
            folder.mkdir(parents=True, exist_ok=True)
        if not os.access(checkpoints, os.R_OK | os.W_OK | os.X_OK):
            raise PermissionError(13, "it cannot be written")
        (probe / "_metadata").write_bytes(_NOTHING)
    except OSError as error:
        raise ClusterError(
            f"the folder of checkpoints {checkpoints.parent} cannot be used on this machine: {error.strerror}; give a "
            "folder that the cluster and this user can both write to (flink_checkpoints)"
        ) from error
    try:
        failure = _disposed(rest, probe)
    finally:
        left = probe.exists()
        shutil.rmtree(probe, ignore_errors=True)
    if failure is not None and "Cannot find" in failure:
        raise ClusterError(
            f"the Flink cluster at {rest.url} does not see the folder of checkpoints {savepoints.parent}: give one "
            "that the cluster (JobManager and TaskManagers) and this machine see under one path (flink_checkpoints)"
        )
    if failure is not None and left:
        raise ClusterError(
            f"the Flink cluster at {rest.url} cannot read and write the folder of checkpoints {savepoints.parent}: "
            f"{reason(failure)}; let its user do so, or give another folder (flink_checkpoints)"
        )


def _disposed(rest: FlinkRest, folder: Path) -> str | None:
    """Why the cluster could not delete a savepoint; None when it did."""
    trigger = rest.dispose(str(folder))
    deadline = time.monotonic() + _DISPOSAL_SECONDS
    while not (outcome := rest.disposal_status(trigger)).done:
        if time.monotonic() > deadline:
            return f"it has not deleted {folder} within {_DISPOSAL_SECONDS:g} s"
        time.sleep(_PAUSE)
    return outcome.failure
