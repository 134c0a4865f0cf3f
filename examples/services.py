"""Services: a database connection in each worker, calls that wait at the same time, and look-ups in a stored map."""

import asyncio
import sqlite3

import jetbridge
from jetbridge import Pipeline
from jetbridge.connectors import ConnectorContext
from jetbridge.services import non_shared_service, shared_service


def prices(context: ConnectorContext) -> sqlite3.Connection:
    connection = sqlite3.connect(":memory:", check_same_thread=False)  # threads take turns with it
    connection.execute("CREATE TABLE prices (fruit TEXT PRIMARY KEY, cents INTEGER)")
    connection.executemany("INSERT INTO prices VALUES (?, ?)", [("apple", 30), ("fig", 55)])
    context.logger.info("stage %s has its prices", context.stage)
    return connection


def with_prices(connection: sqlite3.Connection, orders: list[tuple[str, int]]) -> list[tuple[str, int, int]]:
    """As many results as orders: one query for all."""
    fruits = sorted({fruit for fruit, _ in orders})
    marks = ", ".join("?" * len(fruits))
    cents = dict(connection.execute(f"SELECT fruit, cents FROM prices WHERE fruit IN ({marks})", fruits))
    return [(fruit, count, count * cents[fruit]) for fruit, count in orders]


async def with_stock(warehouse: asyncio.Semaphore, order: tuple[str, int, int]) -> tuple[str, int, int, str]:
    async with warehouse:  # at most so many calls at a time in this process
        await asyncio.sleep(0.01)
    return (*order, "in stock")


pipeline = Pipeline.create()
(
    pipeline.read_from(Pipeline.from_list("orders", [("apple", 2), ("fig", 1), ("apple", 5)]))
    .map_using_service_batched(non_shared_service(prices, sqlite3.Connection.close), with_prices)
    .map_using_service_async(shared_service(lambda context: asyncio.Semaphore(8)), with_stock, timeout=5000)
    .map_using_map("colours", lambda order: order[0], lambda order, colour: (*order, colour))
    .write_to(Pipeline.to_list("priced", clear=True))
)

with jetbridge.connect() as client:
    client.get_map("colours").put_all({"apple": "red", "fig": "purple"})
    client.get_jet().submit(pipeline).join()
    for order in client.get_list("priced"):
        print(*order)
