"""The embedded store: durable lists, maps, streams and the job registry, in one SQLite file of the data folder."""

from jetbridge.store.database import Database
from jetbridge.store.folder import DataFolder
from jetbridge.store.lists import StoredList
from jetbridge.store.maps import StoredMap
from jetbridge.store.records import JobRecord
from jetbridge.store.registry import Registry, StaleOwnerError
from jetbridge.store.streams import StoredStream
from jetbridge.store.values import decode, encode, register_type, register_type_names, registered_types

__all__ = [
    "DataFolder",
    "Database",
    "JobRecord",
    "Registry",
    "StaleOwnerError",
    "StoredList",
    "StoredMap",
    "StoredStream",
    "decode",
    "encode",
    "register_type",
    "register_type_names",
    "registered_types",
]
