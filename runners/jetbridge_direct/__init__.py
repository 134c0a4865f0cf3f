"""jetbridge's Direct runner: pipelines on this machine, on Beam's FnApiRunner."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from jetbridge_direct.runner import DirectRunner

__all__ = ["DirectRunner", "forget", "prepare"]


def __getattr__(name: str) -> Any:
    # Not imported here: the fork server and the workers need this package, but not the client's side of it.
    if name == "DirectRunner":
        from jetbridge_direct.runner import DirectRunner

        return DirectRunner
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def prepare() -> None:
    """Start importing Beam, in another process, before it is certain that a client comes; see `jetbridge.runner`."""
    from jetbridge_direct.sharing import shared

    shared().prepare()


def forget() -> None:
    """End what `prepare` has begun, since no client comes."""
    from jetbridge_direct.sharing import shared

    shared().forget()
