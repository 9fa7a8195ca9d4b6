"""Did this account sign? An account with a key by recovery; a contract account (ERC-1271, ERC-7702) by asking it, at a
named block and with little gas: its code is anybody's."""

from commonhold.access.siwe import MAX_SIGNATURE_BYTES, recover
from commonhold.chain.revert import ContractRefused
from commonhold.chain.rpc import Rpc, RpcRefused
from commonhold.chain.stamp import BlockStamp
from commonhold.units import Address, Hash32, keccak256

ERC1271_GAS = 1_000_000  # a passkey in Solidity takes 300,000
_IS_VALID_SIGNATURE = keccak256(b"isValidSignature(bytes32,bytes)")[:4]
_YES = _IS_VALID_SIGNATURE.ljust(32, b"\0")  # ERC-1271: the selector, left-aligned, and nothing beside it


async def signed(rpc: Rpc, account: Address, digest: Hash32, signature: bytes, *, at: BlockStamp) -> bool:
    """True when the account stands behind `signature` of `digest` at this block. Recovery first: it costs no call."""
    if recover(digest, signature) == account:
        return True
    if len(signature) > MAX_SIGNATURE_BYTES or not await rpc.code(account, at):
        return False
    padded = signature.ljust(-(-len(signature) // 32) * 32, b"\0")
    arguments = digest + (64).to_bytes(32) + len(signature).to_bytes(32) + padded
    try:
        returned = await rpc.call_raw(
            account, _IS_VALID_SIGNATURE + arguments, at=at, gas=ERC1271_GAS, what="isValidSignature"
        )
    except (ContractRefused, RpcRefused):  # nodes tell of spent gas in their own ways
        return False
    return returned == _YES
