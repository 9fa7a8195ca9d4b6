"""Calls that change the chain: asked first, then sent, then waited for.

In: a contract, a function, our values; out: the block and the events. Keys and nonces are outbox.py's.
"""

from dataclasses import dataclass

from commonhold.chain.contract import encode_call
from commonhold.chain.decode import decode_of
from commonhold.chain.deployment import FOLLOWED, ContractName, Deployment
from commonhold.chain.events import ChainEvent
from commonhold.chain.outbox import MAX_GAS, NoFunds, Outbox, TransactionTimeout
from commonhold.chain.revert import ContractRefused
from commonhold.chain.rpc import Receipt, Rpc
from commonhold.chain.stamp import BlockStamp
from commonhold.signing import Domain
from commonhold.units import Address, Hash32, address_text, hex_text

__all__ = ["ContractRefused", "Mined", "NoFunds", "Sender", "TransactionTimeout"]

# Gas for a call that the node would not estimate, because it fails: enough for any of ours to get to its refusal.
_UNASKED_GAS = 3_000_000


@dataclass(frozen=True, slots=True)
class Mined:
    """A transaction that is in a block and did what was asked. A reorganization may still undo it."""

    transaction_hash: Hash32
    block: BlockStamp
    events: tuple[ChainEvent, ...]  # of our contracts, in order; the token's are left out
    gas_used: int


class Sender:
    """One account that calls the contracts of one deployment."""

    def __init__(self, rpc: Rpc, key: bytes, deployment: Deployment, *, timeout_s: float = 60) -> None:
        self._rpc = rpc
        self._deployment = deployment
        self._outbox = Outbox(rpc, key, deployment.chain_id, timeout_s=timeout_s)
        self._is_our_chain = False  # until it was looked up

    @property
    def address(self) -> Address:
        return self._outbox.address

    def domain(self, name: ContractName) -> Domain:
        """Where statements to a contract of this deployment count."""
        return self._deployment.domain(name)

    def __repr__(self) -> str:
        return f"Sender({address_text(self.address)})"

    async def transact(self, name: ContractName, function: str, *args: object, check: bool = True) -> Mined:
        """The call is in a block and has succeeded.

        args: our values; structs as dataclasses of signing.py or as tuples in the ABI's order.
        check: ask the node first, so that nothing that would fail is sent and paid for. Without, it is sent anyway, and
        a failure shows when it is in a block.
        Raises ContractRefused, with the custom error's name and numbers; WrongChain; NoFunds; TransactionTimeout.
        """
        what, address = f"{name}.{function}", self._deployment.address_of(name)
        data = encode_call(name, function, args)
        if not self._is_our_chain:
            await self._rpc.check(self._deployment)
            self._is_our_chain = True

        gas = _UNASKED_GAS
        if check:
            asked = await self._rpc.gas(self.address, address, data, what=what, name=name)
            # What others do in the meantime may cost it some more.
            gas = max(asked, min(asked * 5 // 4, MAX_GAS))
        receipt, block = await self._outbox.send(address, data, gas)
        if not receipt.ok:
            raise await self._why(name, what, address, data, receipt, block)
        return Mined(receipt.transaction_hash, block, self._events(receipt), receipt.gas_used)

    async def _why(
        self, name: ContractName, what: str, address: Address, data: bytes, receipt: Receipt, block: BlockStamp
    ) -> ContractRefused:
        """The refusal of a transaction that failed in `block`. No node keeps it: the call is made again, on the state
        before that block."""
        transaction: dict[str, str | int] = {
            "transaction": hex_text(receipt.transaction_hash),
            "block": block.number,
        }
        before = await self._rpc.block(block.parent)
        try:
            if before:
                await self._rpc.call_raw(address, data, at=before, sender=self.address, what=what, name=name)
        except ContractRefused as refused:
            return ContractRefused(str(refused), details={**refused.details, **transaction})
        return ContractRefused(
            f"{what} failed in block {block.number}, for a reason that does not show before it; gas {receipt.gas_used}",
            details={"error": "unknown", **transaction},
        )

    def _events(self, receipt: Receipt) -> tuple[ChainEvent, ...]:
        named = ((self._deployment.contract_at(log.address), log) for log in receipt.logs)
        return tuple(decode_of(name, log) for name, log in named if name in FOLLOWED)
