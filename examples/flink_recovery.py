"""A stream on Flink, whose TaskManager is killed in the middle: nothing is lost, and nothing is counted twice.

    python examples/flink_recovery.py [how many payments]

Results come into the list when the checkpoint that holds them is complete. It needs the extra flink.
"""

import os
import signal
import sys
import time
from itertools import accumulate

from rich import print
from rich.progress import Progress
from rich.table import Table

import jetbridge
from jetbridge import JobConfig, Pipeline, ProcessingGuarantee, StreamSource
from jetbridge_flink.cluster import Cluster

count = int(sys.argv[1]) if len(sys.argv) > 1 else 100_000
payments = [(f"account {n * n % 7}", n * 7919 % 10_000) for n in range(count)]

pipeline = Pipeline.create()
source = pipeline.read_from(StreamSource("payments", initial_position="latest")).group_by(lambda payment: payment[0])
balances = source.rolling_aggregate(accumulator=lambda cents, payment: cents + payment[1], initial=0)
balances.set_name("balances").write_to(Pipeline.to_list("receipts"))  # one for each payment: the new balance

with jetbridge.connect(runner="flink") as client, Progress() as progress:
    stream, receipts = client.get_stream("payments"), client.get_list("receipts")
    receipts.clear()  # of an earlier run
    exactly_once = JobConfig(processing_guarantee=ProcessingGuarantee.EXACTLY_ONCE, snapshot_interval_millis=500)
    job = client.get_jet().submit(pipeline, exactly_once)
    bar, published, killed = progress.add_task("receipts", total=count), 0, 0.0
    while (received := len(receipts)) < count and not job.is_terminal():
        if published < count // 2 or killed:
            stream.publish_all(payments[published : published + 500])
            published += 500
        elif received:  # half of the payments are published, and some of them have been worked off
            with Cluster.lease(client.settings.home, slots=1) as cluster:
                victim = cluster.pids["taskmanager"]
            progress.print(f"After {received:,} receipts: kill -9 {victim}, Flink's TaskManager")
            os.kill(victim, signal.SIGKILL)
            killed = time.monotonic()
        progress.update(bar, completed=received)
        time.sleep(0.02)
    progress.update(bar, completed=received)
    progress.print(f"All {received:,} receipts are there {time.monotonic() - killed:.1f} s later")
    job.cancel()
    rows = receipts.get_all()

table, wrong = Table("account", "payments", "balance by hand", "receipts", "balance on Flink"), 0
for account in sorted({account for account, _ in payments}):
    by_hand = list(accumulate(cents for whose, cents in payments if whose == account))
    on_flink = [balance for whose, balance in rows if whose == account]
    table.add_row(account, *(f"{n:,}" for n in (len(by_hand), by_hand[-1], len(on_flink), on_flink[-1])))
    wrong += by_hand != on_flink  # each balance in turn, not only the last
print(table)
sys.exit("Some balances are wrong" if wrong else 0)
