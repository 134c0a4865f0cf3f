"""Flink's REST API, as far as jobs need it, with typed answers.

The paths and what they answer are those of Flink's own documentation ("REST API",
v1, Flink 1.19). Requests that start something carry an id that is chosen here,
so that they, too, can be repeated when their answer was lost.
"""

from __future__ import annotations

import secrets
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jetbridge.errors import ClusterError
from jetbridge_flink.rest_http import RefusedError, Requests
from jetbridge_flink.rest_views import Checkpoints, JobView, Outcome, Overview, TaskManager

if TYPE_CHECKING:
    from collections.abc import Mapping

_SLOW_SECONDS = 120.0  # for what makes the cluster work: taking a large jar, building a job's graph
_MOST_EXCEPTIONS = 20  # of the past; those that a restart has mended are kept, too


class FlinkRest:
    """A client of one cluster's REST service, for any number of threads.

    Every call raises `jetbridge.errors.ConnectionError` when the cluster does not
    answer, and `jetbridge.errors.ClusterError` when it answers with an error: as
    `RefusedError`, in Flink's own words.

    Args:
        url: Such as ``http://127.0.0.1:8081``.
        headers: Sent with every request, for a service that asks who calls.
        ca: A file with the certificates that vouch for the service, instead of the system's.
        certificate: A file with the certificate and the key to show to it.
        timeout: Seconds for an answer.
        patience: Seconds for which a request is repeated while the cluster does not answer.

    Raises:
        ConfigError: When the address or the certificates cannot be used.
    """

    def __init__(
        self,
        url: str,
        *,
        headers: dict[str, str] | None = None,
        ca: str | None = None,
        certificate: str | None = None,
        timeout: float = 10.0,
        patience: float = 3.0,
    ) -> None:
        self._requests = Requests(
            url, headers=headers, ca=ca, certificate=certificate, timeout=timeout, patience=patience
        )
        self.url = self._requests.url

    def close(self) -> None:
        """Close the connections."""
        self._requests.close()

    def overview(self) -> Overview:
        """The cluster's TaskManagers and slots."""
        return Overview.of(self._get("/overview"))

    def version(self) -> str:
        """Flink's version, such as "1.19.3"."""
        got = self._get("/config")
        try:
            return str(got["flink-version"])
        except (KeyError, TypeError) as error:
            raise ClusterError(
                f"{self.url} does not answer as Flink does (GET /config: {str(got)[:200]!r}): check the address"
            ) from error

    def class_path(self) -> list[str]:
        """The class path of the JobManager."""
        got = self._get("/jobmanager/environment")
        return [path for entry in got["classpath"] for path in entry.split(":")]

    def takes_jars(self) -> bool:
        """Whether it lets jars be uploaded and run."""
        return self._get("/jars", missing=True) is not None

    def taskmanagers(self) -> list[TaskManager]:
        """The TaskManagers that have registered."""
        return [TaskManager.of(each) for each in self._get("/taskmanagers")["taskmanagers"]]

    def upload_jar(self, jar: bytes | Path) -> str:
        """Upload a job's jar; returns its id.

        It is not repeated: each upload is a file of its own on the cluster.
        """
        content = jar.read_bytes() if isinstance(jar, Path) else jar
        files = {"jarfile": ("job.jar", content, "application/java-archive")}
        got = self._requests.once("POST", "/jars/upload", files=files, timeout=_SLOW_SECONDS)
        return str(got["filename"].rpartition("/")[2])

    def run_jar(
        self,
        jar: str,
        *,
        entry_class: str,
        job_id: str | None = None,
        savepoint: str | None = None,
        allow_non_restored: bool = False,
        parallelism: int | None = None,
        configuration: Mapping[str, str] | None = None,
    ) -> str:
        """Start the job of a jar.

        It is not repeated. When its answer is lost, `job` tells whether the job is there.

        Args:
            jar: The jar's id.
            entry_class: The class whose main method makes the job.
            job_id: The job's id in the cluster: 32 hexadecimal digits that no job has had yet.
            savepoint: From where it goes on.
            allow_non_restored: Whether state that no operator takes is left aside.
            parallelism: The parallelism of a job that does not say itself.
            configuration: Options of Flink that hold for the job instead of the cluster's.

        Returns:
            The job's id in the cluster.
        """
        body: dict[str, Any] = {"entryClass": entry_class}
        if job_id is not None:
            body["jobId"] = job_id
        if savepoint is not None:
            body |= {"savepointPath": _url(savepoint), "allowNonRestoredState": allow_non_restored}
        if parallelism is not None:
            body["parallelism"] = parallelism
        if configuration:
            body["flinkConfiguration"] = dict(configuration)
        return str(self._requests.once("POST", f"/jars/{jar}/run", json=body, timeout=_SLOW_SECONDS)["jobid"])

    def delete_jar(self, jar: str) -> None:
        """Remove an uploaded jar."""
        self._requests.repeat("DELETE", f"/jars/{jar}")

    def jobs(self) -> dict[str, str]:
        """The states of the jobs that the cluster knows, by id; those that have ended are known for a while."""
        return {each["id"]: each["status"] for each in self._get("/jobs")["jobs"]}

    def job(self, job_id: str) -> JobView | None:
        """A job, or None when the cluster does not know it."""
        got = self._get(f"/jobs/{job_id}", missing=True)
        return None if got is None else JobView.of(got)

    def watermarks(self, job_id: str) -> list[list[int]]:
        """The input watermarks of each operator's subtasks, as far as they are known; empty for a source."""
        view = self.job(job_id)
        found = []
        for vertex in () if view is None else view.vertices:
            got = self._get(f"/jobs/{job_id}/vertices/{vertex.id}/watermarks", missing=True)
            found.append([int(each["value"]) for each in got or ()])
        return found

    def options(self) -> dict[str, str]:
        """The JobManager's configuration, as far as it differs from Flink's defaults."""
        return {each["key"]: each["value"] for each in self._get("/jobmanager/config")}

    def accumulators(self, job_id: str) -> dict[str, str]:
        """The values of a job's accumulators, by name; they begin anew at each start."""
        got = self._get(f"/jobs/{job_id}/accumulators")
        return {each["name"]: each["value"] for each in got["user-task-accumulators"]}

    def exceptions(self, job_id: str) -> list[str]:
        """The texts of what has gone wrong, whole, the newest first."""
        params = {"maxExceptions": _MOST_EXCEPTIONS}
        got = self._get(f"/jobs/{job_id}/exceptions", missing=True, params=params) or {}
        entries = (got.get("exceptionHistory") or {}).get("entries", [])
        texts = [
            each.get("stacktrace") for entry in entries for each in (entry, *entry.get("concurrentExceptions", []))
        ]
        return list(dict.fromkeys(text for text in (*texts, got.get("root-exception")) if text))

    def checkpoints(self, job_id: str) -> Checkpoints | None:
        """The checkpoints of a job; None when it is unknown or takes none."""
        got = self._get(f"/jobs/{job_id}/checkpoints", missing=True)
        return None if not got or "counts" not in got else Checkpoints.of(got)

    def trigger_checkpoint(self, job_id: str) -> str:
        """Ask for a checkpoint; returns the id to ask `checkpoint_status` with."""
        return self._trigger(f"/jobs/{job_id}/checkpoints", {"checkpointType": "CONFIGURED"})

    def checkpoint_status(self, job_id: str, trigger: str) -> Outcome:
        """What became of a checkpoint."""
        return Outcome.of(self._get(f"/jobs/{job_id}/checkpoints/{trigger}"))

    def savepoint(self, job_id: str, target: str) -> str:
        """Ask for a savepoint; returns the id to ask `savepoint_status` with.

        Args:
            job_id: The job.
            target: The folder that it gets a folder in: a path, or a URL that the cluster can write to.
        """
        return self._trigger(f"/jobs/{job_id}/savepoints", {"target-directory": _url(target), "cancel-job": False})

    def stop_with_savepoint(self, job_id: str, target: str) -> str:
        """Ask the job to stop behind a savepoint; returns the id to ask `savepoint_status` with.

        Args:
            job_id: The job.
            target: The folder that it gets a folder in: a path, or a URL that the cluster can write to.
        """
        # Not drained: windows that are open must not fire, or the job could not go on.
        return self._trigger(f"/jobs/{job_id}/stop", {"targetDirectory": _url(target), "drain": False})

    def savepoint_status(self, job_id: str, trigger: str) -> Outcome:
        """What became of a savepoint."""
        return Outcome.of(self._get(f"/jobs/{job_id}/savepoints/{trigger}"))

    def dispose(self, path: str) -> str:
        """Ask the JobManager to delete a savepoint; returns the id to ask `disposal_status` with.

        It is not repeated: the second request would find the savepoint gone.
        """
        got = self._requests.once("POST", "/savepoint-disposal", json={"savepoint-path": _url(path)})
        return str(got["request-id"])

    def disposal_status(self, trigger: str) -> Outcome:
        """What became of a savepoint's deletion."""
        return Outcome.of(self._get(f"/savepoint-disposal/{trigger}"))

    def cancel(self, job_id: str) -> None:
        """Cancel a job, unless it has ended; returns at once."""
        try:
            self._requests.repeat("PATCH", f"/jobs/{job_id}", params={"mode": "cancel"})
        except RefusedError:
            view = self.job(job_id)
            if view is None or not view.over:
                raise

    def _get(self, path: str, *, missing: bool = False, **request: Any) -> Any:
        return self._requests.repeat("GET", path, missing=missing, **request)

    def _trigger(self, path: str, body: dict[str, Any]) -> str:
        # Flink starts nothing a second time for an id that it knows.
        body = {**body, "triggerId": secrets.token_hex(16)}
        return str(self._requests.repeat("POST", path, json=body)["request-id"])


def _url(target: str) -> str:
    return f"file://{target}" if target.startswith("/") else target
