"""Transactions of one account: signed here, sent one nonce after another, waited for.

The key stays in this object: it is in no message, log or repr. One account has one outbox in one process; a second one
would take the same nonces.
"""

import asyncio

from eth_account import Account

from commonhold.chain.rpc import Receipt, Rpc, RpcRefused, RpcUnavailable
from commonhold.chain.stamp import BlockStamp
from commonhold.errors import Unavailable
from commonhold.units import Address, Hash32, address_text, hex_text, keccak256, to_address

MAX_GAS = 1 << 24  # of one transaction. Source: EIP-7825
_POLL_S = (0.02, 1.0)  # between two looks for a receipt: at first, and at most

# What nodes answer to a transaction that they have already: go-ethereum, anvil and Nethermind, Besu, Erigon.
_KNOWN = ("already known", "already imported", "known transaction", "alreadyknown")


class NoFunds(Unavailable):
    """The account cannot pay for the gas. `details` has what it has and what it needs, in wei."""

    code = "no_funds"


class TransactionTimeout(Unavailable):
    """A transaction that was sent is in no block yet; it may still come. `details` has its hash."""

    code = "transaction_timeout"


class Outbox:
    """Sends what one account signs."""

    def __init__(self, rpc: Rpc, key: bytes, chain_id: int, *, timeout_s: float = 60) -> None:
        """`key`: 32 bytes. `timeout_s`: for one transaction, from sending it to finding it in a block."""
        self._account = Account.from_key(key)
        self._rpc = rpc
        self._chain_id = chain_id
        self._timeout_s = timeout_s
        self._turn = asyncio.Lock()
        self._waiting: set[int] = set()  # nonces that were sent and not yet found in a block
        self.address: Address = to_address(self._account.address)

    async def send(
        self, to: Address | None, data: bytes, gas: int, *, nonce: int | None = None
    ) -> tuple[Receipt, BlockStamp]:
        """The transaction is in a block: its receipt, and the block. `to` None makes a contract; `nonce` None takes the
        next one.

        Raises NoFunds, RpcRefused when the node does not take it, TransactionTimeout.
        """
        async with self._turn:
            most, tip = await self._rpc.fees()
            if nonce is None:
                # A node behind a load balancer may not count what another one took a moment ago.
                nonce = max([await self._rpc.nonce(self.address), *(waiting + 1 for waiting in self._waiting)])
            signed = self._account.sign_transaction(
                {
                    "type": 2,
                    "chainId": self._chain_id,
                    "nonce": nonce,
                    "to": address_text(to) if to else b"",
                    "value": 0,
                    "data": data,
                    "gas": gas,
                    "maxFeePerGas": most,
                    "maxPriorityFeePerGas": tip,
                }
            )
            raw = bytes(signed.raw_transaction)
            await self._hand_over(raw, gas * most)
            self._waiting.add(nonce)
        try:
            return await self._find(keccak256(raw))
        finally:
            self._waiting.discard(nonce)

    async def _hand_over(self, raw: bytes, most_wei: int) -> None:
        """The node has the transaction. When its answer is lost, the same bytes are sent once more: they count once."""
        try:
            await self._rpc.send(raw)
        except RpcRefused as error:
            if "insufficient funds" in error.rpc_message.lower():
                raise await self._no_funds(most_wei) from error
            raise
        except RpcUnavailable:
            try:
                await self._rpc.send(raw)
            except RpcRefused as error:
                known = any(words in error.rpc_message.lower() for words in _KNOWN)
                if not known and await self._rpc.receipt(keccak256(raw)) is None:
                    raise

    async def _no_funds(self, most_wei: int) -> NoFunds:
        has = await self._rpc.balance(self.address, await self._rpc.head("latest"))
        return NoFunds(
            f"account {address_text(self.address)} has {has} wei for gas, the transaction needs up to {most_wei}",
            details={"address": address_text(self.address), "has_wei": has, "needs_wei": most_wei},
        )

    async def _find(self, transaction_hash: Hash32) -> tuple[Receipt, BlockStamp]:
        """The receipt and its block, as soon as both are there. A node that does not answer in between changes nothing:
        the transaction is on its way."""
        pause_s, longest_s = _POLL_S
        silence: RpcUnavailable | None = None
        try:
            async with asyncio.timeout(self._timeout_s):
                while True:
                    try:
                        receipt = await self._rpc.receipt(transaction_hash)
                        block = await self._rpc.block(receipt.block_hash) if receipt else None
                        if receipt and block:
                            return receipt, block
                    except RpcUnavailable as error:
                        silence = error
                    await asyncio.sleep(pause_s)
                    pause_s = min(2 * pause_s, longest_s)
        except TimeoutError:
            raise TransactionTimeout(
                f"transaction {hex_text(transaction_hash)} is in no block after {self._timeout_s:g} s",
                details={"transaction": hex_text(transaction_hash)},
            ) from silence
