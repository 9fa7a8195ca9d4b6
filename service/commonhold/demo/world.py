"""What the steps of the demo share: the chain, the parties' keys, the processes, and what has come about so far."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import httpx

from commonhold.chain.deployment import ContractName, Deployment
from commonhold.chain.rpc import Rpc
from commonhold.chain.send import Sender
from commonhold.client.client import Client
from commonhold.client.lease import Lease
from commonhold.demo.processes import Processes
from commonhold.demo.show import DemoFailed
from commonhold.keyfile import read_wallet, wallet_address, write_wallet
from commonhold.units import Address, AssetId, CreditId, Window

T = TypeVar("T")

ATTESTERS = ("attester-1", "attester-2", "attester-3")
APPRAISERS = ("appraiser-1", "appraiser-2", "appraiser-3")
MEMBERS = ("provider", "affiliate", "investor", "library", "laboratory", "developer", "branch")
WINDOW_SECONDS = 7 * 86_400
WAIT_LIMIT_S = 60.0


@dataclass(frozen=True, slots=True)
class Keys:
    """The wallets of the parties, one key file a role, made at first use."""

    folder: Path

    def file(self, role: str) -> Path:
        """The role's key file."""
        path = self.folder / f"{role}.key"
        if not path.exists():
            write_wallet(path)
        return path

    def wallet(self, role: str) -> bytes:
        """The role's key, 32 bytes."""
        return read_wallet(self.file(role))

    def address(self, role: str) -> Address:
        """The role's account."""
        return wallet_address(self.wallet(role))


@dataclass(slots=True)
class World:
    """Mutable: steps add what they bring about. Nothing here outlives the run."""

    folder: Path
    keys: Keys
    rpc: Rpc
    rpc_url: str
    deployment: Deployment
    processes: Processes
    http: httpx.AsyncClient
    database_url: str
    recorded_evidence: Path | None  # None: that folder is not at hand
    port: int
    service_url: str = ""
    node_url: str = ""
    appraiser_urls: list[str] = field(default_factory=list)
    assets: dict[str, AssetId] = field(default_factory=dict)
    credits: dict[str, CreditId] = field(default_factory=dict)
    leases: dict[str, Lease] = field(default_factory=dict)
    developer: Client | None = None
    senders: dict[str, Sender] = field(default_factory=dict)

    def sender(self, role: str) -> Sender:
        """One sender a role: nonces of an account are counted in one place."""
        if role not in self.senders:
            self.senders[role] = Sender(self.rpc, self.keys.wallet(role), self.deployment)
        return self.senders[role]

    @property
    def client(self) -> Client:
        """The developer's SDK, opened on first use."""
        if self.developer is None:
            self.developer = Client(self.service_url, self.keys.wallet("developer"))
        return self.developer

    async def view(self, contract: ContractName, function: str, *args: object) -> Any:
        """What a contract answers at the newest block."""
        at = await self.rpc.head("latest")
        return await self.rpc.call(contract, self.deployment.address_of(contract), function, *args, at=at)

    async def window(self) -> Window:
        """The current window."""
        return Window(int(await self.view("Access", "currentWindow")))

    @property
    def deployment_file(self) -> Path:
        """Where this run's deployment is described."""
        return self.folder / "deployment.json"


async def wait_for(what: str, ask: Callable[[], Awaitable[T | None]], *, limit_s: float = WAIT_LIMIT_S) -> T:
    """The first answer of `ask` that is not None. Raises DemoFailed after `limit_s`."""
    started = time.monotonic()
    while time.monotonic() - started < limit_s:
        answer = await ask()
        if answer is not None:
            return answer
        await asyncio.sleep(0.1)
    raise DemoFailed(f"{what}: expected within {limit_s:.0f} s, got nothing")
