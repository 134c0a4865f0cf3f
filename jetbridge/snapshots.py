"""Named snapshots as the user sees them; `JetService.get_job_state_snapshots` gives them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from jetbridge.store import snapshots

if TYPE_CHECKING:
    from jetbridge.jobs.session import Session


class JobStateSnapshot:
    """The state of a job at one moment, under a name. It outlives the job.

    Example:
        >>> import jetbridge, tempfile
        >>> from jetbridge import JobConfig, Pipeline, StreamSource
        >>> with jetbridge.connect(home=tempfile.mkdtemp()) as client:
        ...     pipeline = Pipeline.create()
        ...     stage = pipeline.read_from(StreamSource("events")).write_to(Pipeline.to_list("seen"))
        ...     jet = client.get_jet()
        ...     job = jet.submit(pipeline, JobConfig(name="watch", processing_guarantee="EXACTLY_ONCE"))
        ...     job.cancel_and_export_snapshot("before-the-release")
        ...     [snapshot] = jet.get_job_state_snapshots()
        ...     print(snapshot.name, snapshot.job_name)
        ...     snapshot.destroy()
        ...     print(jet.get_job_state_snapshot("before-the-release"))
        before-the-release watch
        None
    """

    def __init__(self, session: Session, info: snapshots.SnapshotInfo) -> None:
        self._session = session
        self._info = info

    @property
    def name(self) -> str:
        """Its name."""
        return self._info.name

    @property
    def creation_time(self) -> int:
        """When it was taken, in milliseconds since the epoch."""
        return self._info.creation_time

    @property
    def job_id(self) -> str:
        """The id of the job that it was taken of."""
        return self._info.job_id

    @property
    def job_name(self) -> str | None:
        """The name of that job, or None."""
        return self._info.job_name

    @property
    def payload_size(self) -> int:
        """The bytes of the state."""
        return self._info.payload_size

    def destroy(self) -> None:
        """Remove it.

        Raises:
            SnapshotError: When it is not there any more.
        """
        self._session.check_open()
        snapshots.destroy(self._session.db.home, self.name)

    def __repr__(self) -> str:
        return f"<JobStateSnapshot '{self.name}' of job {self.job_name or self.job_id}, {self.payload_size} bytes>"
