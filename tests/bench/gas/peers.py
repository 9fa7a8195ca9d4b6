"""OpenZeppelin's contracts with nothing added: ERC-6909, ERC-1155, and a Governor over ERC20Votes.

In: contracts/bench/Peers.sol, built. Out: the gas of each operation, by its name in build/bench/gas.json.
"""

from commonhold.units import address_text, keccak256
from tests.actors import ROOT, address_of
from tests.bench.gas.built import Built, Chain
from tests.bench.gas.trex import Trex

OUT = ROOT / "contracts" / "out" / "Peers.sol"
ID, AMOUNT = 7, 1_000


def _peer(name: str) -> Built:
    return Built.load(OUT / f"{name}.json")


async def tokens(chain: Chain) -> dict[str, int]:
    """Mint and transfer of both multi-token standards. Each holder has more than it sends."""
    plain, multi = _peer("Plain6909"), _peer("Plain1155")
    second = address_of("gas second")
    return await _moved(chain, plain, "erc6909_", plain.call("transfer", second, ID, AMOUNT)) | await _moved(
        chain,
        multi,
        "erc1155_",
        multi.call("safeTransferFrom", address_of("gas first"), second, ID, AMOUNT, b""),
    )


async def _moved(chain: Chain, contract: Built, prefix: str, transfer: bytes) -> dict[str, int]:
    owner, first = address_of("gas owner"), address_of("gas first")
    at = await chain.make(owner, contract.init())
    return {
        prefix + "mint_new": await chain.send(owner, at, contract.call("mint", first, ID, AMOUNT)),
        prefix + "mint_existing": await chain.send(owner, at, contract.call("mint", first, ID, 99 * AMOUNT)),
        prefix + "transfer_new": await chain.send(first, at, transfer),
        prefix + "transfer_existing": await chain.send(first, at, transfer),
    }


async def trex(chain: Chain) -> dict[str, int]:
    """The same transfer by ERC-3643."""
    owner, first, second = (address_of(role) for role in ("trex owner", "trex first", "trex second"))
    token = Trex(chain, owner)
    await token.begin()
    for holder in (first, second):
        await token.admit(holder)
    return {
        "trex_mint_new": await token.mint(first, AMOUNT),
        "trex_mint_existing": await token.mint(first, 99 * AMOUNT),
        "trex_transfer_new": await token.transfer(first, second, AMOUNT),
        "trex_transfer_existing": await token.transfer(first, second, AMOUNT),
    }


async def governor(chain: Chain) -> dict[str, int]:
    """The first vote for a proposal and a later one; each voter has delegated to itself."""
    owner, first, second = (address_of(role) for role in ("governor owner", "governor first", "governor second"))
    votes, timelock, contract = _peer("PlainVotes"), _peer("PlainTimelock"), _peer("PlainGovernor")
    token = await chain.make(owner, votes.init())
    for voter in (first, second):
        await chain.send(owner, token, votes.call("mint", voter, AMOUNT))
        await chain.send(voter, token, votes.call("delegate", voter))
    lock = await chain.make(owner, timelock.init(1, [], []))
    at = await chain.make(owner, contract.init(token, lock))
    proposal = ([address_text(token)], [0], [b""])
    text = "a proposal"
    id_ = int.from_bytes(await chain.ask(at, contract.call("hashProposal", *proposal, keccak256(text.encode()))))
    found = {"governor_propose": await chain.send(first, at, contract.call("propose", *proposal, text))}
    await chain.mine(2)
    found["governor_vote_first"] = await chain.send(first, at, contract.call("castVote", id_, 1))
    found["governor_vote_later"] = await chain.send(second, at, contract.call("castVote", id_, 1))
    return found
