"""Contracts that are not ours, as built elsewhere: their files, and transactions to them on a development chain."""

import asyncio
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from eth_abi.abi import encode

from commonhold.chain.node import Anvil
from commonhold.units import Address, address_text, keccak256, to_address

MINED_S = 30
Word = Mapping[str, Any]  # one entry of an ABI


@dataclass(frozen=True, slots=True)
class Built:
    """One contract: its ABI and its init code without arguments."""

    abi: Sequence[Word]
    code: bytes

    @classmethod
    def load(cls, path: Path) -> "Built":
        """From Foundry's or Hardhat's JSON."""
        found = json.loads(path.read_text(encoding="utf-8"))
        code = found["bytecode"]
        return cls(found["abi"], bytes.fromhex((code if isinstance(code, str) else code["object"]).removeprefix("0x")))

    def init(self, *args: object) -> bytes:
        """Init code with its arguments."""
        made = [word for word in self.abi if word["type"] == "constructor"]
        return self.code + encode([_kind(each) for each in made[0]["inputs"]] if made else [], args)

    def call(self, function: str, *args: object) -> bytes:
        """Call data; the number of arguments tells overloads apart."""
        [entry] = [
            word
            for word in self.abi
            if word["type"] == "function" and word["name"] == function and len(word["inputs"]) == len(args)
        ]
        kinds = [_kind(each) for each in entry["inputs"]]
        return keccak256(f"{function}({','.join(kinds)})".encode())[:4] + encode(kinds, args)


def _kind(parameter: Word) -> str:
    kind: str = parameter["type"]
    if kind.startswith("tuple"):
        return f"({','.join(_kind(each) for each in parameter['components'])}){kind.removeprefix('tuple')}"
    return kind


class Chain:
    """Sends from any account without its key, as a development chain allows; each call is a transaction of its own."""

    def __init__(self, anvil: Anvil) -> None:
        self._anvil = anvil

    async def make(self, sender: Address, init: bytes) -> Address:
        """A new contract's address."""
        receipt = await self._send(sender, None, init)
        return to_address(receipt["contractAddress"])

    async def send(self, sender: Address, to: Address, data: bytes) -> int:
        """The gas that a transaction used, the 21,000 and its calldata included."""
        return int((await self._send(sender, to, data))["gasUsed"], 16)

    async def ask(self, to: Address, data: bytes) -> bytes:
        """What a call returns at the head."""
        found = await self._anvil.request("eth_call", {"to": address_text(to), "data": "0x" + data.hex()}, "latest")
        return bytes.fromhex(found.removeprefix("0x"))

    async def mine(self, blocks: int) -> None:
        """The chain has `blocks` more."""
        await self._anvil.mine(blocks)

    async def _send(self, sender: Address, to: Address | None, data: bytes) -> Mapping[str, Any]:
        await self._anvil.fund(address_text(sender), 10**20)
        words = {"from": address_text(sender), "data": "0x" + data.hex(), "gas": hex(1 << 24)}
        if to is not None:
            words["to"] = address_text(to)
        sent = await self._anvil.request("eth_sendTransaction", words)
        receipt: Mapping[str, Any] | None = None
        async with asyncio.timeout(MINED_S):
            # The node answers when it has the transaction, mines it right after, and tells nobody when.
            while (receipt := await self._anvil.request("eth_getTransactionReceipt", sent)) is None:  # noqa: ASYNC110
                await asyncio.sleep(0.02)
        if receipt["status"] != "0x1":
            raise RuntimeError(f"transaction {sent} to {address_text(to) if to else 'nobody'}: refused")
        return receipt
