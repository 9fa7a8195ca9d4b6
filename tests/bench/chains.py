"""Where the chains of the benches lie, and an anvil that has one. What makes them is in mirror_chain.py: a process that
is measured needs no more of the harness than this.
"""

import argparse
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from commonhold.chain.node import Anvil, start_anvil

ROOT = Path(__file__).parent.parent.parent
BUILD = ROOT / "build" / "bench"
JSON = {"content-type": "application/json"}
LEAST = 1_000  # events of a chain: the fewest members and what they are given are 440 of them


@dataclass(frozen=True)
class Chain:
    """The files of one: anvil's state, the deployment, and the driver that moved it."""

    state: Path
    deployment: Path
    driver: Path

    @classmethod
    def named(cls, name: str) -> Self:
        """The one of this name."""
        return cls(*(BUILD / f"{name}{suffix}.json" for suffix in ("", "-deployment", "-driver")))

    @property
    def name(self) -> str:
        return self.state.stem

    def started(self, *, slots_in_an_epoch: int = 32) -> AbstractAsyncContextManager[Anvil]:
        """An anvil that has it; two epochs before its head are not final."""
        return anvil_with(self.state, slots_in_an_epoch=slots_in_an_epoch)


def anvil_with(state: Path | None = None, *, slots_in_an_epoch: int = 32) -> AbstractAsyncContextManager[Anvil]:
    """One with this state, or new. Gas is free: members that exist in the driver's arithmetic alone have no coin."""
    from tests.actors import ANVIL  # and much else

    loaded: dict[str, Any] = {"load_state": str(state)} if state else {}
    return start_anvil(
        ANVIL,
        within_s=300,  # 860 MB of state take 10 s on an idle machine
        prune_history=True,
        no_request_size_limit=True,
        block_base_fee_per_gas=0,
        slots_in_an_epoch=slots_in_an_epoch,
        **loaded,
    )


def at_least(least: int) -> Callable[[str], int]:
    """Reads an argument that is a number, of at least so much."""

    def number(text: str) -> int:
        if not text.isdecimal() or int(text) < least:
            raise argparse.ArgumentTypeError(f"expected a number of at least {least}, got {text!r}")
        return int(text)

    return number
