"""The chains that the mirror is measured on: our contracts, really deployed, and many of our own events. For mirror.py.

Dense: thousands of members, twenty assets, and transactions of 50 to 150 events each, one to a block: members are
admitted, make the driver their operator, are given units of every asset, and pass them on at random. Sparse: one such
transaction in 500 blocks. A chain is made once; anvil's dump of it, receipts included, is kept in build/bench/.
"""

import gzip
import json
import random
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import httpx
import orjson
from eth_abi.abi import encode

from commonhold import signing
from commonhold.chain.contract import encode_call
from commonhold.chain.deploy import deploy
from commonhold.chain.deployment import Deployment
from commonhold.chain.node import Anvil
from commonhold.chain.rpc import Rpc
from commonhold.units import Address, address_text, hex_text, keccak256, to_address
from tests.actors import ATTESTERS, FUNDED, YEAR_S, Deployed, address_of, genesis, key_of
from tests.bench.chains import BUILD, JSON, ROOT, Chain, anvil_with

ASSETS = 20
MOST_MEMBERS = 5_000
GIVEN = 400  # units of each asset to each member: none runs out in a walk of a few units
FINAL = 66  # blocks at the end that are not final, at anvil's 32 slots an epoch
EVERY = 500  # blocks; the sparse chain has something of ours in one of so many
GAS = 16_000_000  # below what one transaction may use (EIP-7825)
UNITS = 10_000_000  # of each asset


class Mover:
    """The driver on a development chain that mines when told."""

    def __init__(self, http: httpx.AsyncClient, url: str, deployment: Deployment, made: dict[str, Any]) -> None:
        self._http = http
        self._url = url
        self._deployment = deployment
        self.address = to_address(made["address"])
        self.assets: list[int] = made["assets"]
        self.members: int = made["members"]

    async def ask(self, method: str, *params: object) -> Any:
        body = orjson.dumps({"jsonrpc": "2.0", "id": 1, "method": method, "params": params})
        answer = orjson.loads((await self._http.post(self._url, content=body, headers=JSON)).content)
        if "error" in answer:
            raise SystemExit(f"anvil refuses {method}: {answer['error']}")
        return answer["result"]

    async def send(self, data: bytes, *, to: Address | None = None, sender: Address | None = None) -> None:
        """The transaction waits for the next block."""
        asked = {
            "from": address_text(sender or address_of("deployer")),
            "to": address_text(to or self.address),
            "gas": hex(GAS),
            "gasPrice": "0x0",
            "data": hex_text(data),
        }
        await self.ask("eth_sendTransaction", asked)

    async def mine(self, blocks: int = 1) -> None:
        await self.ask("anvil_mine", hex(blocks))

    async def move(self, seed: int, count: int) -> None:
        """A block of so many transfers between members."""
        ledger = address_text(self._deployment.ledger)
        values = (ledger, self.assets, self.members, seed, count)
        await self.send(_call("move(address,uint256[],uint256,uint256,uint256)", *values))
        await self.mine()

    async def now(self) -> int:
        """The chain's time."""
        return int((await self.ask("eth_getBlockByNumber", "latest", False))["timestamp"], 16)

    async def unlock(self) -> None:
        """Every account may send, with no coin, and nothing is mined but when told."""
        await self.ask("anvil_autoImpersonateAccount", True)
        await self.ask("evm_setAutomine", False)


@asynccontextmanager
async def mover_on(anvil: Anvil, chain: Chain) -> AsyncIterator[Mover]:
    """What makes more events on a chain that was loaded."""
    async with httpx.AsyncClient(timeout=600, trust_env=False) as http:
        mover = Mover(http, anvil.url, Deployment.load(chain.deployment), json.loads(chain.driver.read_text()))
        await mover.unlock()
        yield mover


async def dense(events: int) -> Chain:
    """A chain with so many events, a few more or less."""
    return await _made(f"dense-{events}", lambda mover: _moves(mover, events - 22 * mover.members), events // 60)


async def sparse(blocks: int) -> Chain:
    """A chain of so many blocks with a transaction of 100 events in one of EVERY."""

    async def make(mover: Mover) -> None:
        for number in range(blocks // EVERY):
            await mover.mine(EVERY - 1)
            await mover.move(number, 100)

    return await _made(f"sparse-{blocks}", make, members=20)


async def _moves(mover: Mover, events: int) -> None:
    drawn = random.Random(events)
    number = 0
    while events > 0:
        count = min(drawn.randint(50, 150), events)
        await mover.move(number, count)
        events, number = events - count, number + 1
        if number % 250 == 0:
            print(f"  {number} blocks, {events} events to go", flush=True)


async def _made(name: str, make: Callable[[Mover], Awaitable[None]], members: int) -> Chain:
    chain = Chain.named(name)
    if chain.state.exists():
        return chain
    print(f"making the chain {name}, once", flush=True)
    BUILD.mkdir(parents=True, exist_ok=True)
    async with seeded(max(20, min(members, MOST_MEMBERS))) as (_, deployed, mover):
        await mover.unlock()
        await _members(mover, deployed)
        await make(mover)
        await mover.mine(FINAL)
        dumped = await mover.ask("anvil_dumpState")
        found = {"address": address_text(mover.address), "assets": mover.assets, "members": mover.members}
    deployed.deployment.save(chain.deployment)
    chain.driver.write_text(json.dumps(found))
    chain.state.write_bytes(gzip.decompress(bytes.fromhex(dumped[2:])))
    return chain


@asynccontextmanager
async def seeded(members: int = 0) -> AsyncIterator[tuple[Anvil, Deployed, Mover]]:
    """A new chain where our contracts stand and the driver has all units of twenty assets. `members`: how many it will
    have; none is admitted yet."""
    async with anvil_with() as anvil, httpx.AsyncClient(timeout=600, trust_env=False) as http:
        async with Rpc(anvil.url) as rpc:
            deployed = await _deployed(anvil, rpc)
            made = {"address": await _driver(anvil), "assets": [], "members": members}
            mover = Mover(http, anvil.url, deployed.deployment, made)
            await _assets(mover, deployed)
        yield anvil, deployed, mover


async def _deployed(anvil: Anvil, rpc: Rpc) -> Deployed:
    """Our contracts, as the tests have them, but for how many members a day may bring."""
    for role in FUNDED:
        await anvil.fund(address_text(address_of(role)), 10**24)
    many = replace(genesis(), admissions_per_day=10_000)  # as many as may be
    return Deployed(anvil, rpc, await deploy(rpc, key_of("deployer"), many))


async def _driver(anvil: Anvil) -> str:
    """The address of a new driver."""
    built = json.loads((ROOT / "contracts/out/Driver.sol/Driver.json").read_text())
    (account, *_) = await anvil.request("eth_accounts")
    receipt = await anvil.send({"from": account, "data": built["bytecode"]["object"]})
    return str(receipt["contractAddress"])


async def _assets(mover: Mover, deployed: Deployed) -> None:
    """The driver is a member, and holds twenty assets."""
    await deployed.admit("provider")
    statement, quorum = _admission(deployed, mover.address, await deployed.now())
    await deployed.send("relayer", "Members", "admit", statement, quorum)
    for number in range(ASSETS):
        asset = await deployed.register_data(units=UNITS, name=f"texts {number}")
        await deployed.send("provider", "Ledger", "transfer", mover.address, asset, UNITS)
        mover.assets.append(asset)


async def _members(mover: Mover, deployed: Deployed) -> None:
    """The members are admitted, have units of each asset, and the driver may move them."""
    now, ledger = await mover.now(), address_text(deployed.deployment.ledger)
    for first in range(0, mover.members, 50):
        signed = [_admission(deployed, account(number), now) for number in range(first, min(first + 50, mover.members))]
        values = (
            [(address_text(a.member), a.nullifier, a.until, a.deadline) for a, _ in signed],
            [[(address_text(signer), signature) for signer, signature in quorum] for _, quorum in signed],
        )
        kinds = "address,(address,bytes32,uint48,uint48)[],(address,bytes)[][]"
        await mover.send(_call(f"admit({kinds})", address_text(deployed.deployment.members), *values))
        await mover.mine()
    may = encode_call("Ledger", "setOperator", (mover.address, True))
    for first in range(0, mover.members, 100):
        for number in range(first, min(first + 100, mover.members)):
            await mover.send(may, to=deployed.deployment.ledger, sender=account(number))
        await mover.mine()
    pairs = mover.members * ASSETS
    for first in range(0, pairs, 100):
        await mover.send(
            _call(
                "give(address,uint256[],uint256,uint256,uint256)",
                ledger,
                mover.assets,
                first,
                min(100, pairs - first),
                GIVEN,
            )
        )
        await mover.mine()


def account(member: int) -> Address:
    """The account of a number, as the driver computes it."""
    return Address(keccak256(member.to_bytes(32))[12:])


def _admission(deployed: Deployed, member: Address, now: int) -> tuple[signing.Admission, list[tuple[Address, bytes]]]:
    statement = signing.Admission(member, keccak256(b"person " + member), now + 2 * YEAR_S, now + YEAR_S)
    return statement, deployed.quorum(ATTESTERS[:2], statement)


def _call(signature: str, *values: object) -> bytes:
    """Call data of the driver."""
    kinds = signature[signature.index("(") + 1 : -1]
    return keccak256(signature.encode())[:4] + encode([*_split(kinds)], values)


def _split(kinds: str) -> Iterator[str]:
    """Types at the commas outside of brackets."""
    depth, begun = 0, 0
    for at, letter in enumerate(kinds):
        depth += (letter == "(") - (letter == ")")
        if letter == "," and depth == 0:
            yield kinds[begun:at]
            begun = at + 1
    yield kinds[begun:]
