"""Reads of the chain, each at a named block, and the little that sending needs.

What a node returns is checked before it is believed: form, block, range, address; and, unless that is switched off,
every header and every receipt is recomputed (verify.py). "latest" and "pending" appear in this file only.
"""

from collections.abc import Collection, Mapping, Sequence
from typing import Any, Self

from commonhold.chain import proof, span, verify
from commonhold.chain.answers import (
    BlockGone,
    Receipt,
    RpcBehind,
    RpcInconsistent,
    to_bytes,
    to_hash,
    to_log,
    to_number,
    to_object,
    to_receipt,
    to_stamp,
)
from commonhold.chain.apart import Apart
from commonhold.chain.contract import BadCallData, decode_result, encode_call
from commonhold.chain.deployment import ContractName, Deployment, WrongChain
from commonhold.chain.health import Health
from commonhold.chain.jsonrpc import JsonRpc, RpcRefused, RpcUnavailable, Traffic
from commonhold.chain.layout import Place
from commonhold.chain.proof import Account, BadProof
from commonhold.chain.revert import refusal
from commonhold.chain.span import Pace, Span
from commonhold.chain.stamp import BlockStamp, RawLog, Tier
from commonhold.chain.verify import RpcLied
from commonhold.errors import CommonholdError
from commonhold.units import Address, BlockNumber, Hash32, address_text, hex_text

__all__ = ["BlockGone", "Receipt", "Rpc", "RpcBehind", "RpcInconsistent", "RpcLied", "RpcRefused", "RpcUnavailable"]

# JSON-RPC's code for parameters that a node does not take, EIP-1898's block hashes among them.
_BAD_PARAMETERS = -32602

View = tuple[ContractName, Address, str, Sequence[object]]  # a contract's function, and its arguments

_PROOFS_AT_ONCE = 100  # slots; go-ethereum takes 1,024


class NotProvable(CommonholdError):
    """Proofs of storage were asked for on a chain whose headers are not recomputed."""

    status = 409
    code = "not_provable"


class Rpc:
    """One node. Closed by `close`, or used as an async context manager."""

    quorum = 1  # how many nodes must agree

    def __init__(
        self, url: str, *, timeout_s: float = 10, verify_logs: bool = True, apart: Apart | None = None
    ) -> None:
        """verify_logs: headers and receipts are recomputed; False for chains whose own forms differ from Ethereum's.
        apart: where large answers are; None: here. It is the caller's to close."""
        self._node = JsonRpc(url, timeout_s=timeout_s)
        self.verify_logs = verify_logs
        self._apart = apart or Apart(process=False)
        self._pace = Pace()
        self._takes_hashes = True  # until the node refuses one

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    @property
    def host(self) -> str:
        return self._node.host

    @property
    def traffic(self) -> Traffic:
        """What was asked of the node."""
        return self._node.traffic

    def health(self) -> list[Health]:
        """Of each endpoint that is kept count of: of one alone nothing is, its errors are the caller's."""
        return []

    async def disown(self, number: int, ours: Hash32) -> bool:
        """True when endpoints whose block of this number is another than `ours`, which was final, are not asked any
        more, while others have it: asking again is right. One node alone is never disowned. Raises RpcUnavailable where
        none has it and some do not answer."""
        return False

    async def close(self) -> None:
        """No connection is open any more."""
        await self._node.close()

    async def chain_id(self) -> int:
        """The chain that the node is on."""
        return to_number(await self._node.request("eth_chainId"))

    async def check(self, deployment: Deployment) -> None:
        """The node is on the deployment's chain and branch. Raises WrongChain, naming both, and RpcBehind when the node
        has not come to the deployment's block."""
        got = await self.chain_id()
        if got != deployment.chain_id:
            raise WrongChain(f"node {self.host} is on chain {got}, the deployment on chain {deployment.chain_id}")
        head = await self.head("latest")
        if head.number < deployment.block:
            raise RpcBehind(
                f"node {self.host} is at block {head.number}, expected at least the deployment's {deployment.block}: "
                "it is syncing"
            )
        first = await self.header(deployment.block)
        if first.hash != deployment.block_hash:
            raise WrongChain(
                f"node {self.host}: block {deployment.block} is {hex_text(first.hash)}, "
                f"the deployment's is {hex_text(deployment.block_hash)}"
            )
        for address in deployment.followed:
            if not await self.code(address, head):
                raise WrongChain(f"node {self.host}: no contract at {address_text(address)}")

    async def head(self, tier: Tier = "latest") -> BlockStamp:
        """The newest block of this tier."""
        found = await self._node.request("eth_getBlockByNumber", tier, False)
        if found is None:
            raise RpcInconsistent(f"node {self.host} has no {tier} block, expected at least the first")
        return self._stamp(found)

    async def block(self, which: int | Hash32) -> BlockStamp | None:
        """The block of a number or hash; None: the node has none such on its branch."""
        if isinstance(which, int):
            found = await self._node.request("eth_getBlockByNumber", hex(which), False)
        else:
            found = await self._node.request("eth_getBlockByHash", hex_text(which), False)
        if found is None:
            return None
        stamp = self._stamp(found)
        if which not in (stamp.number, stamp.hash):
            asked, got = which if isinstance(which, int) else hex_text(which), f"{stamp.number} {hex_text(stamp.hash)}"
            raise RpcInconsistent(f"node {self.host}: expected block {asked}, got {got}")
        return stamp

    async def span(self, addresses: Collection[Address], after: BlockStamp, last: int, *, every: bool = False) -> Span:
        """Blocks after `after` in a row, up to `last` at most, with all logs of the addresses in them; `every`: also
        blocks without.

        Raises RpcLied when a header or the receipts do not recompute; RpcInconsistent when the node is not that far, or
        is on another branch than `after`.
        """
        if self.verify_logs:
            return await span.verified(
                self._node, addresses, after, last, every=every, pace=self._pace, apart=self._apart
            )
        return await span.told(self, addresses, after, last, every=every, pace=self._pace)

    async def header(self, number: int) -> BlockStamp:
        """The block of a number that the node must have. Raises RpcInconsistent."""
        stamp = await self.block(BlockNumber(number))
        if stamp is None:
            raise RpcBehind(f"node {self.host} has no block {number}, expected one below its head")
        return stamp

    async def logs(self, addresses: Collection[Address], from_number: int, to_number: int) -> list[RawLog]:
        """What the node says are all logs of the addresses in the blocks `from_number` to `to_number`, both included,
        in chain order. What it leaves out does not show here, but in `span`.

        Raises RpcInconsistent when the node returns others, contradicts itself, or is not that far yet.
        """
        blocks = {"fromBlock": hex(from_number), "toBlock": hex(to_number)}
        found = await self._logs(blocks, addresses)
        hashes: dict[int, Hash32] = {}
        for log in found:
            if not from_number <= log.block_number <= to_number:
                raise self._odd(log, f"expected a block from {from_number} to {to_number}")
            known = hashes.setdefault(log.block_number, log.block_hash)
            if known != log.block_hash:
                raise self._odd(log, f"another log of that number is of {hex_text(known)}")
        # A node that is behind may answer [] for blocks that it does not have.
        head = await self.head("latest")
        if head.number < to_number:
            raise RpcBehind(f"node {self.host} is at block {head.number}, expected at least {to_number}")
        return found

    async def logs_of(self, block_hash: Hash32, addresses: Collection[Address]) -> list[RawLog]:
        """What the node says are all logs of the addresses in one block. Raises BlockGone, RpcInconsistent."""
        try:
            found = await self._logs({"blockHash": hex_text(block_hash)}, addresses)
        except RpcRefused as error:
            raise await self._gone(block_hash) or error from error
        for log in found:
            if log.block_hash != block_hash:
                raise self._odd(log, f"expected one of block {hex_text(block_hash)}")
        return found

    async def call(
        self,
        name: ContractName,
        address: Address,
        function: str,
        *args: object,
        at: BlockStamp,
        sender: Address | None = None,
    ) -> Any:
        """What `function` of the contract returns at a block: a value, or a named tuple of several.

        Raises ContractRefused with the custom error when it reverts, BlockGone when the block was replaced.
        """
        what = f"{name}.{function}"
        returned = await self.call_raw(
            address, encode_call(name, function, args), at=at, sender=sender, what=what, name=name
        )
        return self._decoded((name, address, function, args), returned, at)

    async def calls(self, asked: Sequence[View], *, at: BlockStamp) -> list[Any]:
        """What many views return at a block, each as `call` says, in few requests."""
        sent = [_transaction(None, view[1], encode_call(view[0], *view[2:])) for view in asked]
        try:
            found = await self._node.batch([("eth_call", (each, {"blockHash": hex_text(at.hash)})) for each in sent])
        except RpcRefused:  # of a call, or of all hashes: asked one by one, it is seen which and why
            return [await self.call(*view[:3], *view[3], at=at) for view in asked]
        return [self._decoded(view, to_bytes(each), at) for view, each in zip(asked, found, strict=True)]

    async def call_raw(
        self,
        to: Address,
        data: bytes,
        *,
        at: BlockStamp,
        sender: Address | None = None,
        gas: int | None = None,
        what: str = "a call",
        name: ContractName | None = None,
    ) -> bytes:
        """What a call with this data returns at a block; `gas` caps what it may spend.

        Raises ContractRefused when it reverts, BlockGone when the block was replaced.
        """
        transaction = _transaction(sender, to, data) | ({} if gas is None else {"gas": hex(gas)})
        try:
            return to_bytes(await self._at(at, "eth_call", transaction))
        except RpcRefused as error:
            if error.is_revert:
                raise refusal(what, name, error.data or b"") from error
            raise

    async def code(self, address: Address, at: BlockStamp) -> bytes:
        """The code of an account at a block; empty: it is no contract."""
        return to_bytes(await self._at(at, "eth_getCode", address_text(address)))

    async def balance(self, address: Address, at: BlockStamp) -> int:
        """What the account has of the chain's own coin, in wei, for gas."""
        return to_number(await self._at(at, "eth_getBalance", address_text(address)))

    async def account(self, address: Address, *, at: BlockStamp) -> Account:
        """The account at a block, proven (eth_getProof): of the node, nothing is believed but that the block exists.

        Raises RpcLied when the header or the proof does not recompute; BlockGone, NotProvable.
        """
        return (await self._proven(address, [], at))[0]

    async def storage(self, address: Address, places: Sequence[Place], *, at: BlockStamp) -> list[int]:
        """The values in these places (layout.py) of the contract's storage at a block, proven as in `account`."""
        slots = sorted({place.slot for place in places})
        words: dict[int, int] = {}
        for first in range(0, len(slots), _PROOFS_AT_ONCE):
            some = slots[first : first + _PROOFS_AT_ONCE]
            words |= zip(some, (await self._proven(address, some, at))[1], strict=True)
        return [place.of(words[place.slot]) for place in places]

    async def nonce(self, address: Address) -> int:
        """The nonce of the account's next transaction, after those that the node has waiting."""
        return to_number(await self._node.request("eth_getTransactionCount", address_text(address), "pending"))

    async def gas(
        self, sender: Address, to: Address | None, data: bytes, *, what: str, name: ContractName | None = None
    ) -> int:
        """The node's estimate of the gas that a transaction needs now; `to` None makes a contract.

        The node runs it for that: raises ContractRefused when it reverts.
        """
        try:
            return to_number(await self._node.request("eth_estimateGas", _transaction(sender, to, data)))
        except RpcRefused as error:
            if error.is_revert:
                raise refusal(what, name, error.data or b"") from error
            raise

    async def fees(self) -> tuple[int, int]:
        """(most per gas, tip per gas) in wei: the tip the node suggests, above twice the newest block's base fee, so
        that six full blocks in a row do not stop a transaction. Source: EIP-1559, a base fee grows by at most 1/8."""
        tip = to_number(await self._node.request("eth_maxPriorityFeePerGas"))
        head = await self._node.request("eth_getBlockByNumber", "latest", False)
        return 2 * to_number(to_object(head).get("baseFeePerGas")) + tip, tip

    async def send(self, raw: bytes) -> Hash32:
        """The node has taken the signed transaction; its hash."""
        return to_hash(await self._node.request("eth_sendRawTransaction", hex_text(raw)))

    async def receipt(self, transaction_hash: Hash32) -> Receipt | None:
        """What became of a transaction; None: it is in no block of the node's branch."""
        found = await self._node.request("eth_getTransactionReceipt", hex_text(transaction_hash))
        if found is None:
            return None
        receipt = to_receipt(found)
        if receipt.transaction_hash != transaction_hash:
            got = hex_text(receipt.transaction_hash)
            raise RpcInconsistent(f"node {self.host}: receipt of {got}, expected of {hex_text(transaction_hash)}")
        return receipt

    async def inputs(self, transactions: Sequence[Hash32]) -> list[bytes]:
        """The data of each transaction, empty of one that is missing: the node's word, for what proves itself."""
        found = await self._node.batch([("eth_getTransactionByHash", (hex_text(each),)) for each in transactions])
        return [b"" if each is None else to_bytes(to_object(each).get("input")) for each in found]

    def _decoded(self, view: View, returned: bytes, at: BlockStamp) -> Any:
        try:
            return decode_result(view[0], view[2], returned)
        except BadCallData as error:
            where = f"contract {view[0]} at {address_text(view[1])} at block {at.number}"
            raise RpcInconsistent(f"node {self.host}: expected {where}: {error}") from error

    async def _proven(self, address: Address, slots: Sequence[int], at: BlockStamp) -> tuple[Account, list[int]]:
        if not self.verify_logs:
            raise NotProvable("proofs of storage need headers that recompute, and their verification is switched off")
        block = await self._node.request("eth_getBlockByHash", hex_text(at.hash), False)
        if block is None:
            raise self._unknown(at.hash)
        if verify.header(block, self.host).stamp.hash != at.hash:
            raise RpcInconsistent(f"node {self.host}: expected block {hex_text(at.hash)}, got {block['hash']}")
        keys = [f"0x{slot:064x}" for slot in slots]
        answer = await self._at(at, "eth_getProof", address_text(address), keys)
        if not isinstance(answer, dict):
            raise RpcInconsistent(f"node {self.host}: expected a proof of {address_text(address)}, got {answer!r:.80}")
        try:
            account = proof.account(to_hash(block["stateRoot"]), address, answer)
            return account, proof.words(account.storage_root, slots, answer)
        except BadProof as error:
            where = f"node {self.host}, {address_text(address)} at block {at.number} {hex_text(at.hash)}"
            # Asked by number, an honest node may have answered for another branch.
            raise (RpcLied if self._takes_hashes else RpcInconsistent)(f"{where}: {error}") from error

    async def _logs(self, blocks: Mapping[str, str], addresses: Collection[Address]) -> list[RawLog]:
        """What eth_getLogs returns, in chain order: ours, none twice, none marked as removed."""
        asked = {**blocks, "address": [address_text(address) for address in addresses]}
        answer = await self._node.request("eth_getLogs", asked)
        if not isinstance(answer, list):
            raise RpcInconsistent(f"node {self.host}: expected a list of logs, got {type(answer).__name__}")
        found = sorted((to_log(item) for item in answer), key=lambda log: (log.block_number, log.log_index))
        for before, log in zip([None, *found], found, strict=False):
            if log.address not in addresses:
                raise self._odd(log, f"by {address_text(log.address)}, which was not asked for")
            if before and (before.block_number, before.log_index) == (log.block_number, log.log_index):
                raise self._odd(log, "given twice")
        return found

    async def _at(self, at: BlockStamp, method: str, *params: object) -> Any:
        """The node's answer as of a block: by its hash, so that no other branch can answer; by its number, checked
        afterwards, where the node does not take hashes (EIP-1898)."""
        if self._takes_hashes:
            try:
                return await self._node.request(method, *params, {"blockHash": hex_text(at.hash)})
            except RpcRefused as error:
                if error.is_revert:
                    raise
                if gone := await self._gone(at.hash):
                    raise gone from error
                if error.rpc_code != _BAD_PARAMETERS:
                    raise
                self._takes_hashes = False
        answer = await self._node.request(method, *params, hex(at.number))
        if gone := await self._gone(at.hash):
            raise gone
        return answer

    def _stamp(self, found: object) -> BlockStamp:
        return verify.header(found, self.host).stamp if self.verify_logs else to_stamp(found)

    async def _gone(self, block_hash: Hash32) -> BlockGone | None:
        """The error to raise when the node does not have the block; None: it has."""
        return None if await self.block(block_hash) else self._unknown(block_hash)

    def _unknown(self, block_hash: Hash32) -> BlockGone:
        return BlockGone(f"node {self.host} does not know block {hex_text(block_hash)} (any more)")

    def _odd(self, log: RawLog, reason: str) -> RpcInconsistent:
        where = f"log {log.log_index} of block {log.block_number} {hex_text(log.block_hash)}"
        return RpcInconsistent(f"node {self.host}: {where}: {reason}")


def _transaction(sender: Address | None, to: Address | None, data: bytes) -> dict[str, str]:
    parts = {"data": hex_text(data)}
    if sender is not None:
        parts["from"] = address_text(sender)
    if to is not None:
        parts["to"] = address_text(to)
    return parts
