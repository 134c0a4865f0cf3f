"""The tables of the data folder's database, as the steps that lead to them.

A step is never changed once it was released: a later version appends one, with
its tables or columns, and an older data folder walks through the steps that it
misses, in one transaction each. What is stored in a row describes itself
(values, records as JSON), so most news need no step at all.
"""

from __future__ import annotations

APPLICATION_ID = 0x4A657442  # "JetB" in the file's header: this is our file and no other SQLite database
PAGE_SIZE = 8192  # chunks are long: fewer overflow pages than with 4096, and quicker to delete

_FIRST = (
    # One row for each list, map or stream. `size` is the count of its items, kept in the same transactions.
    """
    CREATE TABLE structures (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        kind TEXT NOT NULL,
        name TEXT NOT NULL,
        size INTEGER NOT NULL,
        crc INTEGER NOT NULL,
        UNIQUE (kind, name)
    )
    """,
    # The items of lists and streams, many to a row. `start` is the index of the first. (run, stage, shard, sequence)
    # say which chunk of which job it is; they are NULL for what users added themselves.
    """
    CREATE TABLE chunks (
        id INTEGER PRIMARY KEY,
        structure INTEGER NOT NULL,
        start INTEGER NOT NULL,
        count INTEGER NOT NULL,
        payload BLOB NOT NULL,
        crc INTEGER NOT NULL,
        written INTEGER NOT NULL,
        run TEXT,
        stage TEXT,
        shard TEXT,
        sequence INTEGER
    )
    """,
    "CREATE UNIQUE INDEX chunks_by_start ON chunks (structure, start)",
    # The entries of maps. `key_bytes` identifies the key; `key` and `value` begin with their checksum.
    """
    CREATE TABLE entries (
        structure INTEGER NOT NULL,
        key_bytes BLOB NOT NULL,
        key BLOB NOT NULL,
        value BLOB NOT NULL,
        PRIMARY KEY (structure, key_bytes)
    ) WITHOUT ROWID
    """,
    # `seq` orders jobs, because clocks jump. `body` is the record; the other columns repeat what is searched for.
    """
    CREATE TABLE jobs (
        seq INTEGER PRIMARY KEY AUTOINCREMENT,
        id TEXT NOT NULL UNIQUE,
        name TEXT,
        status TEXT NOT NULL,
        body BLOB NOT NULL,
        crc INTEGER NOT NULL
    )
    """,
    """
    CREATE UNIQUE INDEX one_active_job_of_a_name ON jobs (name)
    WHERE name IS NOT NULL AND status NOT IN ('COMPLETED', 'FAILED')
    """,
    "CREATE INDEX jobs_by_name ON jobs (name, seq)",
    "CREATE TABLE pipelines (job TEXT PRIMARY KEY, payload BLOB NOT NULL, crc INTEGER NOT NULL) WITHOUT ROWID",
)

_DURABLE_JOBS = (
    # Where each job stands, and the state of its stages as logs: see states.py.
    "CREATE TABLE checkpoints (job TEXT PRIMARY KEY, body BLOB NOT NULL, crc INTEGER NOT NULL) STRICT, WITHOUT ROWID",
    """
    CREATE TABLE segments (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        job TEXT NOT NULL,
        stage TEXT NOT NULL,
        shard INTEGER NOT NULL,
        kind INTEGER NOT NULL,
        payload BLOB NOT NULL,
        crc INTEGER NOT NULL
    ) STRICT
    """,
    "CREATE INDEX segments_by_shard ON segments (job, stage, shard, id)",
    # Chunks for sinks in other systems, from the commit that made them until they are known to be written.
    """
    CREATE TABLE outbox (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        job TEXT NOT NULL,
        run TEXT NOT NULL,
        stage TEXT NOT NULL,
        shard TEXT NOT NULL,
        sequence INTEGER NOT NULL,
        count INTEGER NOT NULL,
        payload BLOB NOT NULL,
        crc INTEGER NOT NULL
    ) STRICT
    """,
    "CREATE INDEX outbox_by_job ON outbox (job, id)",
    # What one process asks of the owner of a job in another one.
    """
    CREATE TABLE commands (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        job TEXT NOT NULL,
        kind TEXT NOT NULL,
        args TEXT NOT NULL,
        state TEXT NOT NULL,
        result TEXT,
        created INTEGER NOT NULL
    ) STRICT
    """,
    "CREATE INDEX open_commands ON commands (job) WHERE state = 'OPEN'",
)

_WORKERS_THAT_WRITE = (
    # For runners whose workers write on their own, see intake.py: the number of the chunk that comes next ...
    """
    CREATE TABLE intake (
        run TEXT NOT NULL,
        stage TEXT NOT NULL,
        shard TEXT NOT NULL,
        next INTEGER NOT NULL,
        PRIMARY KEY (run, stage, shard)
    ) STRICT, WITHOUT ROWID
    """,
    # ... those that came before their turn ...
    """
    CREATE TABLE early (
        run TEXT NOT NULL,
        stage TEXT NOT NULL,
        shard TEXT NOT NULL,
        sequence INTEGER NOT NULL,
        count INTEGER NOT NULL,
        payload BLOB NOT NULL,
        crc INTEGER NOT NULL,
        UNIQUE (run, stage, shard, sequence)
    ) STRICT
    """,
    # ... and how far each part of a run is, as stored values; `version` grows.
    """
    CREATE TABLE figures (
        run TEXT NOT NULL,
        place TEXT NOT NULL,
        version INTEGER NOT NULL,
        body BLOB NOT NULL,
        PRIMARY KEY (run, place)
    ) STRICT, WITHOUT ROWID
    """,
)

MIGRATIONS: tuple[tuple[str, ...], ...] = (_FIRST, _DURABLE_JOBS, _WORKERS_THAT_WRITE)
VERSION = len(MIGRATIONS)
"""The schema version that this version of jetbridge reads and writes: the number of steps."""
