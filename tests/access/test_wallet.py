"""Contract wallets (ERC-1271) on a real EVM: their code is anybody's, and says yes in exactly one way."""

import pytest
from eth_abi.abi import encode
from eth_account import Account

from commonhold.access import wallet
from commonhold.access.siwe import personal_digest
from commonhold.units import Address, address_text, keccak256
from tests.actors import Deployed, address_of, key_of

pytestmark = pytest.mark.chain

MAGIC = "1626ba7e"
WALLET = Address(b"\xaa" * 20)
DIGEST = personal_digest(b"hello")

# Runtime code; each ends with what it returns.
CODES = {
    "yes": f"63{MAGIC}60e01b5f5260205ff3",
    "magic_right_aligned": f"63{MAGIC}5f5260205ff3",
    "four_bytes": f"63{MAGIC}60e01b5f5260045ff3",
    "sixty_four_bytes": f"63{MAGIC}60e01b5f5260405ff3",
    "dirty": f"63{MAGIC}60e01b6001175f5260205ff3",
    "true": "60015f5260205ff3",
    "nothing": "00",
    "reverts": "5f5ffd",
    "runs_for_ever": "5b5f56",
    "no_code": "",
}


@pytest.mark.parametrize("name", CODES)
async def test_only_the_magic_word_alone_is_a_yes(deployed: Deployed, name: str) -> None:
    await deployed.anvil.request("anvil_setCode", address_text(WALLET), "0x" + CODES[name])
    at = await deployed.rpc.head()

    assert await wallet.signed(deployed.rpc, WALLET, DIGEST, b"x" * 100, at=at) == (name == "yes")


async def test_a_wallet_sees_digest_and_signature_as_erc_1271_lays_them_out(deployed: Deployed) -> None:
    # keccak-256 of all call data is compared with what the standard's encoding gives.
    signature = bytes(range(70))
    expected = keccak256(bytes.fromhex(MAGIC) + encode(["bytes32", "bytes"], [DIGEST, signature]))
    # calldatacopy all, keccak256, eq with `expected`, mul with the magic word
    code = f"365f5f37365f207f{expected.hex()}1463{MAGIC}60e01b025f5260205ff3"
    await deployed.anvil.request("anvil_setCode", address_text(WALLET), "0x" + code)
    at = await deployed.rpc.head()

    assert await wallet.signed(deployed.rpc, WALLET, DIGEST, signature, at=at)
    assert not await wallet.signed(deployed.rpc, WALLET, DIGEST, signature + b"\0", at=at)
    assert not await wallet.signed(deployed.rpc, WALLET, DIGEST, b"x" * 5_000, at=at)


async def test_an_account_with_a_key_is_not_asked(deployed: Deployed) -> None:
    signature = bytes(Account.unsafe_sign_hash(DIGEST, key_of("developer")).signature)
    at = await deployed.rpc.head()

    assert await wallet.signed(deployed.rpc, address_of("developer"), DIGEST, signature, at=at)
    assert not await wallet.signed(deployed.rpc, address_of("stranger"), DIGEST, signature, at=at)
