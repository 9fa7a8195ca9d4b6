"""Roles of tests/actors.py at a terminal: their key files, and the deployment's file, in one folder."""

import asyncio
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.actors import Deployed, key_of
from tests.cli.conftest import Run


@dataclass
class Terminal:
    """Commands as the roles type them, against one chain."""

    folder: Path
    run: Run
    deployed: Deployed

    def __post_init__(self) -> None:
        self.deployed.deployment.save(self.folder / "deployment.json")

    def key(self, role: str) -> Path:
        """The role's key file."""
        path = self.folder / f"{role}.key"
        if not path.exists():
            path.write_text(key_of(role).hex())
            path.chmod(0o600)
        return path

    @property
    def chain(self) -> tuple[object, ...]:
        return "--rpc", self.deployed.anvil.url, "--deployment", self.folder / "deployment.json"

    async def ask(self, *arguments: object, by: str | None = None, on: tuple[object, ...] | None = None) -> Any:
        """What the command answers; it must succeed."""
        code, out, err = await self.type(*arguments, "--json", by=by, on=on)
        assert code == 0, (arguments, out, err)
        return json.loads(out)

    async def refused(self, *arguments: object, by: str | None = None, on: tuple[object, ...] | None = None) -> str:
        """The one line that the command is refused with."""
        code, out, err = await self.type(*arguments, by=by, on=on)
        assert (code, out) == (1, ""), (arguments, out, err)
        assert err.strip().count("\n") == 0, err
        return err.strip()

    async def type(
        self, *arguments: object, by: str | None = None, on: tuple[object, ...] | None = None
    ) -> tuple[int, str, str]:
        """Exit code, standard output and standard error. on: where it works, the chain unless given."""
        key = () if by is None else ("--key", self.key(by))
        return await asyncio.to_thread(self.run, *arguments, *key, *(self.chain if on is None else on))
