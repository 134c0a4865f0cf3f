"""A Hazelcast cluster of this machine's own, for trying out."""

import contextlib
import sys
from typing import Annotated

import typer

from jetbridge.cli.frame import app, command

group = typer.Typer(name="hazelcast", no_args_is_help=True, help="A Hazelcast cluster on this machine, for trying out.")
app.add_typer(group)

_FIRST_PORT = 5701  # where clients look that are told nothing


@command(group)
def start(
    port: Annotated[int, typer.Option("--port", min=1024, max=65000, help="The first member's port.")] = _FIRST_PORT,
    members: Annotated[int, typer.Option("--members", min=1, max=9, help="How many members it has.")] = 1,
    cluster_name: Annotated[str, typer.Option("--cluster-name", metavar="NAME", help="Its name.")] = "dev",
    memory: Annotated[int, typer.Option("--memory", min=64, help="What each member's heap may hold, in MB.")] = 512,
) -> None:
    """Start a cluster, and stay until Ctrl-C ends it.

    It listens on this machine's loopback address only. What it holds is gone when it ends.
    """
    from jetbridge.hazelcast_members import Member

    ports = list(range(port, port + members))
    with contextlib.ExitStack() as stack:
        for each in ports:
            member = Member(port=each, members=ports, cluster_name=cluster_name, memory=memory, progress=_say)
            stack.enter_context(member)
        addresses = [f"127.0.0.1:{each}" for each in ports]
        _say(f"Hazelcast cluster '{cluster_name}' runs at {', '.join(addresses)}; Ctrl-C ends it")
        print(f"jetbridge.connect(hazelcast={{'cluster_name': {cluster_name!r}, 'cluster_members': {addresses}}})")
        sys.stdout.flush()
        member.process.wait()
        _say(f"its member at {member.address} has ended; the last that it said:\n{member.said()[-500:]}")
        raise typer.Exit(1)


def _say(text: str) -> None:
    print(f"jetbridge: {text}", file=sys.stderr, flush=True)
