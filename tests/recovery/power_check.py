"""What must hold in a data folder after a power cut, whatever the disk kept of that which was not synced.

The image is opened by the store as it is, over the sqlite3 module and the real
file system. It must hold exactly what some commit had made of it, one that is
not older than the last durable one; and what that commit says of files, of named
snapshots and of rows in other systems must be true.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import sqlite3

from power_history import JOB, SNAPSHOTS, STORED, StreamHistory, digest_of, fingerprint

from jetbridge import ProcessingGuarantee
from jetbridge.connectors import ConnectorContext, outbox
from jetbridge.errors import JetbridgeError
from jetbridge.store import Database, Registry, StoredList, StoredMap, StoredStream, snapshots, states
from jetbridge_direct.host import JobHost


class Broken(AssertionError):
    """A promise was not kept; the text begins with "damaged", "lost", "inconsistent" or "early"."""


class NotOpened(Broken):
    """The folder does not open; jetbridge's error says why."""


class Check:
    """Checks images of one history.

    Args:
        history: It, ended.
    """

    def __init__(self, history):
        self.history = history
        self._exactly_once = history.guarantee is ProcessingGuarantee.EXACTLY_ONCE
        self.met = {}
        """How often each commit was found to be the last one."""

    def image(self, root, moment):
        """Check the image of a moment.

        Returns:
            The number of the commit that was found.

        Raises:
            Broken: Says what is wrong.
        """
        home = root / "home"
        db = _opened(home)
        try:
            number, checkpoint = self._in_database(db, moment)
            self._files(root, db, checkpoint)
            if self._exactly_once:
                self._delivered(db, checkpoint, moment)
            self._snapshots(home, moment)
        except (JetbridgeError, sqlite3.Error) as error:
            raise Broken(f"damaged: {type(error).__name__}: {error}") from error
        finally:
            db.close()
        return number

    def store(self, home):
        """Check the database of a folder alone, whichever commit is the last one in it.

        Returns:
            The number of that commit.

        Raises:
            Broken: Says what is wrong.
        """
        db = _opened(home)
        try:
            return self._in_database(db, None)[0]
        finally:
            db.close()

    def _in_database(self, db, moment):
        number = self._commit(db, moment)
        checkpoint = states.load(db.reader(), JOB)
        if number not in self.met:
            self.met[number] = 0
            if self._exactly_once:
                self.rows(db, checkpoint)
        self.met[number] += 1
        return number, checkpoint

    def _commit(self, db, moment):
        sound = db.reader().execute("PRAGMA integrity_check").fetchall()
        if sound != [("ok",)]:
            raise Broken(f"damaged: {sound}")
        commits = self.history.commits
        if moment is None:
            low, high = 0, len(commits) - 1
        else:
            low, high = self._range(moment)
        found = fingerprint(db.reader())
        for number in range(high, -1, -1):
            if commits[number].fingerprint == found:
                if number < low:
                    raise Broken(f"lost: commit {low} was durable, and commit {number} is the last one")
                return number
        raise Broken("inconsistent: no commit had ever made such a database")

    def _range(self, moment):
        """The first and the last commit that may be the last one after a power cut."""
        commits = self.history.commits
        low = max((n for n, commit in enumerate(commits) if commit.durable and commit.known <= moment), default=0)
        high = max((n for n, commit in enumerate(commits) if commit.begun <= moment), default=0)
        return low, high

    def rows(self, db, checkpoint):
        """Registry, checkpoint, state and rows belong to one and the same epoch."""
        record = Registry(db).get(JOB)
        entries = {name: dict(StoredMap(db, name).items()) for name in ("last", "sums")}
        if checkpoint is None:
            read = self._expected(None if record is not None and record.status == "COMPLETED" else {}, entries)
        else:
            read = self._expected(checkpoint, entries)
            metrics = record.metrics or {"epochs": 0, "stages": {}}
            epochs = (checkpoint["epoch"], record.commits, metrics["epochs"])
            counts = {
                name: [each["received"], each["emitted"], each["errors"], each["late"]]
                for name, each in metrics["stages"].items()
            }
            if len(set(epochs)) != 1 or (epochs[0] and counts != checkpoint["counts"]):
                raise Broken(f"inconsistent: the registry and the checkpoint differ: {epochs}")
            for name, count in read["counts"].items():
                if checkpoint["counts"][name] != [*count, 0, 0]:  # no errors, and nothing late
                    raise Broken(f"inconsistent: {name} counts {checkpoint['counts'][name]} in place of {count}")
            state = self._state(db, checkpoint)
            if state != read["state"]:
                raise Broken("inconsistent: the state is not that of the rows")
        for name, rows in read["lists"].items():
            found = StoredList(db, name).get_all()
            if found != rows if name not in ("merged", "rolled") else sorted(found) != sorted(rows):
                raise Broken(f"inconsistent: list '{name}' has {len(found)} rows that are not the {len(rows)} expected")
        for name, expected in read["maps"].items():
            if entries[name] != expected:
                raise Broken(f"inconsistent: map '{name}'")

    def _expected(self, checkpoint, entries):
        """What the store must hold at a checkpoint; an empty one is that of a job that has not committed, None the end.

        Returns:
            The lists, the maps, the state of each stage and the counts of some stages.
        """
        if isinstance(self.history, StreamHistory):
            return _stream(checkpoint)
        return _batch(checkpoint, self.history.COUNT, set(entries["sums"]))

    def _state(self, db, checkpoint):
        plan = self.history.pipeline(self.history.root).plan()
        host = JobHost(plan, run="run", shards=3, logger="jetbridge.test", job=JOB, journal=db.reader)
        found = {}
        for node in plan.keyed:
            stage = host.state[node.id]
            stage.restore(checkpoint["stages"][node.name]["progress"])
            parts = [stage.kernel.entries(stage.shard(number)) for number in stage.numbers()]
            if node.name == "sort":
                found[node.name] = sorted(itertools.chain.from_iterable(items for _, items in parts))
            else:
                found[node.name] = {key: item for keys, items in parts for key, item in zip(keys, items, strict=True)}
        return found

    def _files(self, root, db, checkpoint):
        """The staged rows are there, and what others can see already is not older than the database."""
        record = Registry(db).get(JOB)
        completed = record is not None and record.status == "COMPLETED"
        position = None if checkpoint is None else checkpoint["sinks"]["file"]["position"]
        count = self._numbers(checkpoint, completed)
        visible = self.visible(root)
        if visible != [str(n) for n in self.sequence(len(visible))] or len(visible) > count:
            raise Broken(f"early: {len(visible)} rows can be seen in files, and {count} are committed")
        if completed:
            rows = visible
        elif position is None:
            return
        else:
            context = ConnectorContext(JOB, JOB, "run", "file", str(root / "home"), self.history.unbounded)
            sink = next(n for n in self.history.pipeline(root).plan().sinks if n.name == "file").sink
            sink.reopen(context, position)
            if not self.history.unbounded:
                sink.complete()
            sink.close()
            rows = self.visible(root)
        if rows != [str(n) for n in self.sequence(count)]:
            raise Broken(f"lost: {len(rows)} rows can be had from files, and {count} are committed")

    def visible(self, root):
        path = root / self.history.path
        files = sorted(path.glob("part-*")) if self.history.unbounded else [path]
        return [line for file in files if file.exists() for line in file.read_text().split()]

    def _numbers(self, checkpoint, completed):
        if completed:
            return self.history.COUNT
        return 0 if checkpoint is None else checkpoint["counts"]["file"][0]

    def sequence(self, count):
        return range(0, 2 * count, 2) if self.history.unbounded else range(count)

    def _delivered(self, db, checkpoint, moment):
        """What another system was given is committed, and what it was not given is in the outbox."""
        delivered = {number: items for when, number, items in self.history.outside.delivered if when < moment}
        record = Registry(db).get(JOB)
        if checkpoint is None and record is not None and record.status == "COMPLETED":
            return
        sequence = 0 if checkpoint is None else checkpoint["sinks"]["outside"]["sequence"]
        if delivered and max(delivered) >= sequence:
            raise Broken(f"early: chunk {max(delivered)} was delivered, and {sequence} chunks are committed")
        for _, chunk in outbox.read(db.reader(), JOB):
            if delivered.setdefault(chunk.sequence, chunk.items()) != chunk.items():
                raise Broken(f"inconsistent: chunk {chunk.sequence} would be delivered again with other rows")
        rows = [row for number in sorted(delivered) for row in delivered[number]]
        if len(delivered) != sequence or rows != list(self.sequence(len(rows))):
            raise Broken(f"lost: of {sequence} chunks for another system {len(delivered)} are known")

    def _snapshots(self, home, moment):
        for name in SNAPSHOTS:
            changes = [change for change in self.history.changes if change.name == name and change.begun <= moment]
            known = [change.digest for change in changes if change.known <= moment]
            allowed = {*(known[-1:] or [None]), *(change.digest for change in changes if change.known > moment)}
            found = digest_of(home, name)
            if found not in allowed:
                raise Broken(f"{'damaged' if found else 'lost'}: snapshot '{name}'")
            if found is not None:
                snapshots.verify(home, name)


def _opened(home):
    try:
        return Database.open(home)
    except JetbridgeError as error:
        raise NotOpened(f"damaged: it does not open: {error}") from error


def lay_out(replay, root, chance):
    """Make the image of a moment, in which the markers of published files speak of the image's own inodes."""
    mode = replay.image(root, chance)
    for marker in root.glob(".*.published"):
        with contextlib.suppress(ValueError):  # it was not synced
            said = json.loads(marker.read_text())
            path = replay.placed.get(said["inode"])
            status = None if path is None else os.stat(path)
            said |= {"device": status and status.st_dev, "inode": status and status.st_ino}
            marker.write_text(json.dumps(said))
    return mode


def _stream(checkpoint):
    if not checkpoint:
        return {"lists": {"plain": [], "merged": [], "rolled": []}, "maps": {"last": {}}}
    sources = {name: source["partitions"]["0"] for name, source in checkpoint["sources"].items()}
    count = sources["events"][0]
    events = range(0, 2 * count, 2)
    stored = range(-STORED, 0) if sources["stored"][1] else range(-sources["stored"][0][0], 0)
    keys = {key: list(itertools.accumulate(n for n in events if n % 5 == key)) for key in {n % 5 for n in events}}
    once = [*events, *stored]
    return {
        "lists": {
            "plain": list(events),
            "merged": once,
            "rolled": [(key, total) for key, totals in keys.items() for total in totals],
        },
        "maps": {"last": {n % 7: n for n in events}},
        "state": {"distinct": dict.fromkeys(once), "rolling": {key: totals[-1] for key, totals in keys.items()}},
        "counts": {"events": [0, count], "plain": [count, 0], "rolling": [count, count], "outside": [count, 0]},
    }


def _batch(checkpoint, most, summed):
    ordered = sorted(range(most), key=lambda n: -n % 100)
    every = [*range(most), *range(STORED)]
    sums = {key: sum(n for n in every if n % 9 == key) for key in range(9)}
    if checkpoint is None:
        return {"lists": {"plain": list(range(most)), "sorted": ordered}, "maps": {"sums": sums}}
    if not checkpoint:
        return {"lists": {"plain": [], "sorted": []}, "maps": {"sums": {}}}
    counts, sort = checkpoint["counts"], checkpoint["stages"]["sort"]
    count, out = counts["plain"][0], counts["sorted"][0]
    read = [*range(count), *range(counts["stored"][1])]
    held = {key: sum(n for n in read if n % 9 == key) for key in {n % 9 for n in read}}
    if not sort["ended"] and out != min(sort["progress"] or 0, count):
        raise Broken(f"inconsistent: {out} sorted rows at progress {sort['progress']}")
    return {
        "lists": {"plain": list(range(count)), "sorted": ordered[:out]},
        "maps": {"sums": {key: sums[key] for key in summed}},
        "state": {
            "sort": [] if sort["ended"] else list(range(count)),
            "sum": {key: each for key, each in held.items() if key not in summed},
        },
        "counts": {"numbers": [0, count], "sort": [count, out], "sum": [len(read), len(summed)]},
    }


def goes_on(history, root, moment):
    """A job in an image goes on to its end, and has written everything once.

    Returns:
        Whether the image had the job.
    """
    job = type(history).go_on(root, history, moment)
    try:
        if job.registry.get(JOB) is None:
            return False
        job.to_the_end()
        checkpoint = states.load(job.db.reader(), JOB)
        check = Check(history)
        check.rows(job.db, checkpoint)
        count = StoredStream(job.db, "events").size() if history.unbounded else history.COUNT
        rows = list(check.sequence(count))
        assert StoredList(job.db, "plain").get_all() == (rows if count else [])
        assert check.visible(root) == [str(row) for row in rows]
        kept = {}
        for _, number, items in job.outside.delivered:
            assert kept.setdefault(number, items) == items, f"chunk {number} came again with other rows"
        assert [row for number in sorted(kept) for row in kept[number]] == rows
        return True
    finally:
        job.db.close()
        job.client.close()
