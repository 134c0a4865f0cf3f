"""Looking values up in a map of the embedded store, for ``map_using_map``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from jetbridge.connectors.memory import checked_name
from jetbridge.services import Lookup
from jetbridge.store import maps
from jetbridge.store.database import Database

if TYPE_CHECKING:
    from collections.abc import Sequence

    from jetbridge.connectors.base import ConnectorContext


class StoredMapLookup(Lookup):
    """A stored map; one that nobody has written is empty.

    Args:
        name: The map's name.
    """

    def __init__(self, name: str) -> None:
        super().__init__(checked_name("map", name))

    def open(self, context: ConnectorContext) -> None:
        """Open the data folder."""
        self._db = Database.open(Path(context.home))

    def get_many(self, keys: Sequence[Any]) -> list[Any]:
        """The values as they are committed, all at one moment."""
        return maps.read_values(self._db.reader(), self.name, keys)

    def close(self) -> None:
        """Close the data folder."""
        self._db.close()
