"""What people do on the chain, as functions: statements are signed, quorums are put together, transactions are sent.
The commands and the demo call these.
"""

import secrets
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, TypeVar

from eth_account import Account

from commonhold import signing
from commonhold.chain.deployment import Deployment
from commonhold.chain.events import Opened, Redeemed, Registered
from commonhold.chain.send import Mined, Sender
from commonhold.errors import CommonholdError
from commonhold.keyfile import wallet_address
from commonhold.signing import Domain, Statement
from commonhold.units import Address, AssetId, CreditId, Hash32, Units, hex_text, keccak256

E = TypeVar("E", Opened, Redeemed, Registered)
QuorumSignatures = Sequence[tuple[Address, bytes]]


@dataclass(frozen=True, slots=True)
class Share:
    """One owner's part of a new asset."""

    owner: Address
    units: Units


def sign(key: bytes, domain: Domain, statement: Statement) -> bytes:
    """A wallet's EIP-712 signature, 65 bytes r || s || v."""
    return bytes(Account.unsafe_sign_hash(signing.digest(domain, statement), key).signature)


def quorum(keys: Iterable[bytes], domain: Domain, statement: Statement) -> QuorumSignatures:
    """Signatures of several keys in the order that the contracts ask for: ascending by signer."""
    return ordered({wallet_address(key): sign(key, domain, statement) for key in keys})


def ordered(signatures: Mapping[Address, bytes]) -> QuorumSignatures:
    """Signatures by signer, ascending."""
    return sorted(signatures.items())


def identity_nullifier(identity: str) -> Hash32:
    """The nullifier of a real-world identity (an LEI, a registry number): the hash of its text, so that it is admitted
    once. Attesters agree on the text."""
    return keccak256(b"commonhold/identity/v1" + identity.strip().upper().encode())


async def admit(sender: Sender, admission: signing.Admission, signatures: QuorumSignatures) -> Mined:
    """`admission.member` is a member."""
    return await sender.transact("Members", "admit", admission, signatures)


async def renew_membership(sender: Sender, renewal: signing.Renewal, signatures: QuorumSignatures) -> Mined:
    """The membership lasts until `renewal.until`."""
    return await sender.transact("Members", "renew", renewal, signatures)


async def attach(
    sender: Sender, attachment: signing.Attachment, member_signature: bytes, controller_signature: bytes
) -> Mined:
    """The member's group counts as the controller's; both roots have signed."""
    return await sender.transact("Members", "attach", attachment, member_signature, controller_signature)


async def find(sender: Sender, finding: signing.Finding, signatures: QuorumSignatures) -> Mined:
    """The member's group counts as the controller's, by a quorum's finding."""
    return await sender.transact("Members", "find", finding, signatures)


async def detach(sender: Sender, detachment: signing.Detachment, signatures: QuorumSignatures) -> Mined:
    """The member may leave its group after the delay. Anyone may send it."""
    return await sender.transact("Members", "detach", detachment, signatures)


async def challenge_detach(sender: Sender, member: Address, evidence: Hash32) -> Mined:
    """The delay of a detachment begins again. Only the root of another group, once."""
    return await sender.transact("Members", "challengeDetach", member, evidence)


async def recover(sender: Sender, recovery: signing.Recovery, signatures: QuorumSignatures) -> Mined:
    """Another account may take the member's place after the delay. Anyone may send it."""
    return await sender.transact("Members", "recover", recovery, signatures)


async def veto_recovery(sender: Sender) -> Mined:
    """Nobody takes the sender's place."""
    return await sender.transact("Members", "vetoRecovery")


async def complete(sender: Sender, what: Literal["completeDetach", "completeRecovery"], member: Address) -> Mined:
    """What has waited out its delay is done. Anyone may send it."""
    return await sender.transact("Members", what, member)


async def recover_holdings(
    sender: Sender, member: Address, assets: Sequence[AssetId], credits: Sequence[CreditId], leases: Sequence[Hash32]
) -> list[Mined]:
    """What a replaced member has is its successor's. Anyone may send it."""
    mined = []
    if assets:
        mined.append(await sender.transact("Ledger", "recover", member, assets))
    if credits or leases:
        mined.append(await sender.transact("Access", "recover", member, credits, leases))
    return mined


async def lapse(sender: Sender, member: Address) -> Mined:
    """A root whose membership is over counts no more among the groups. Anyone may send it."""
    return await sender.transact("Members", "lapse", member)


async def refuse_gifts(sender: Sender, refused: bool) -> Mined:
    """Others send the sender nothing unasked, or again do."""
    return await sender.transact("Members", "refuseGifts", refused)


async def register(
    sender: Sender,
    appraisal: signing.Appraisal,
    signatures: QuorumSignatures,
    split: Sequence[Share],
    uri: str,
    *,
    commons_price_wei: int = 0,
) -> tuple[AssetId, Mined]:
    """The appraised asset stands in the ledger; what its owners may not hold is in the commons, where 1.000000 of it
    costs `commons_price_wei`."""
    shares = [(share.owner, share.units) for share in split]
    mined = await sender.transact("Ledger", "register", appraisal, signatures, shares, commons_price_wei, uri)
    return AssetId(_only(mined, Registered).asset), mined


async def renew_appraisal(
    sender: Sender, asset: AssetId, appraisal: signing.Appraisal, signatures: QuorumSignatures
) -> Mined:
    """The asset stands under the newer appraisal: same class, registrant, units and devices, a later expiry."""
    return await sender.transact("Ledger", "renew", asset, appraisal, signatures)


async def transfer(sender: Sender, receiver: Address, asset: AssetId, units: Units, *, check: bool = True) -> Mined:
    """`units` of `asset` are the receiver's. `check=False` sends even what a simulation would refuse."""
    return await sender.transact("Ledger", "transfer", receiver, asset, units, check=check)


async def take(
    sender: Sender, deployment: Deployment, asset: AssetId, units: Units, *, price_wei: int, cost_wei: int
) -> Mined:
    """`units` of the commons are the sender's; the asset's operator is paid."""
    if cost_wei:
        await sender.transact("Coin", "approve", deployment.ledger, cost_wei)
    return await sender.transact("Ledger", "take", asset, units, price_wei)


async def decline(sender: Sender, asset: AssetId, units: Units) -> Mined:
    """`units` that the sender has are in the commons."""
    return await sender.transact("Ledger", "decline", asset, units)


async def lower_commons_price(sender: Sender, asset: AssetId, price_wei: int) -> Mined:
    """Units of the commons cost less. Only the asset's operator."""
    return await sender.transact("Ledger", "lowerCommonsPrice", asset, price_wei)


async def retire(sender: Sender, asset: AssetId, devices: Sequence[Hash32]) -> Mined:
    """The asset, whose appraisal lapsed long ago, counts no more. Anyone may send it."""
    return await sender.transact("Ledger", "retire", asset, devices)


async def sync(sender: Sender, asset: AssetId, holders: Sequence[Address]) -> Mined:
    """What they hold of a retired asset counts in their groups no more. Anyone may send it."""
    return await sender.transact("Ledger", "sync", asset, holders)


async def claim(sender: Sender, asset: AssetId, account: Address) -> Mined:
    """The account is paid its revenue of the asset. Anyone may send it."""
    return await sender.transact("Ledger", "claim", asset, account)


async def share_commons(sender: Sender, asset: AssetId) -> Mined:
    """What the commons earned with the asset is all groups' in equal parts. Anyone may send it."""
    return await sender.transact("Ledger", "shareCommons", asset)


async def claim_commons(sender: Sender, root: Address) -> Mined:
    """The group is paid its part of what the commons shared. Anyone may send it."""
    return await sender.transact("Ledger", "claimCommons", root)


async def open_tranche(sender: Sender, asset: AssetId, window: int, tranche: int, price_wei: int) -> CreditId:
    """Credits of the asset in that window can be granted (price 0) or bought."""
    mined = await sender.transact("Access", "open", asset, window, tranche, price_wei)
    return CreditId(_only(mined, Opened).id)


async def grant(sender: Sender, credit: CreditId, receiver: Address, seconds: int) -> Mined:
    """The receiver holds `seconds` more credits."""
    return await sender.transact("Access", "grant", credit, receiver, seconds)


async def buy(sender: Sender, deployment: Deployment, credit: CreditId, seconds: int, max_price_wei: int) -> Mined:
    """The sender holds `seconds` more credits; the payment is in escrow."""
    await sender.transact("Coin", "approve", deployment.access, seconds * max_price_wei)
    return await sender.transact("Access", "buy", credit, seconds, max_price_wei)


def redemption(
    holder: Address, credit: CreditId, seconds: int, session_point: bytes, *, deadline: int, nonce: int | None = None
) -> signing.Redemption:
    """The statement that turns credits into a lease of the session key (x || y)."""
    return signing.Redemption(
        holder=holder,
        id=credit,
        amount=seconds,
        key_x=Hash32(session_point[:32]),
        key_y=Hash32(session_point[32:]),
        nonce=secrets.randbits(128) if nonce is None else nonce,
        deadline=deadline,
    )


async def redeem(
    sender: Sender, statement: signing.Redemption, signature: bytes, *, check: bool = True
) -> tuple[Hash32, Mined]:
    """The holder's credits are a lease; the sender pays the gas."""
    mined = await sender.transact("Access", "redeemFor", statement, signature, check=check)
    return Hash32(_only(mined, Redeemed).lease), mined


async def split(sender: Sender, statement: signing.Split, signature: bytes = b"") -> Mined:
    """Part of a lease is a lease of its own. signature: the holder's, where it does not send this itself."""
    return await sender.transact("Access", "split", statement, signature)


async def top_up(sender: Sender, statement: signing.TopUp, signature: bytes = b"") -> Mined:
    """More credits are redeemed into a lease."""
    return await sender.transact("Access", "topUp", statement, signature)


async def rotate(sender: Sender, statement: signing.Rotation, signature: bytes = b"") -> Mined:
    """A lease is bound to another session key; the one before proves use for an hour more."""
    return await sender.transact("Access", "rotate", statement, signature)


async def refund(sender: Sender, lease: Hash32) -> Mined:
    """The holder is paid for what was not delivered. Anyone may send it."""
    return await sender.transact("Access", "refund", lease)


async def refund_credits(sender: Sender, credit: CreditId, holder: Address) -> Mined:
    """The holder is paid for credits of a window that is over. Anyone may send it."""
    return await sender.transact("Access", "refundCredits", credit, holder)


def _only(mined: Mined, kind: type[E]) -> E:
    found = [event for event in mined.events if isinstance(event, kind)]
    if len(found) != 1:
        hash_text = hex_text(mined.transaction_hash)
        raise UnexpectedEvents(f"transaction {hash_text}: {len(found)} {kind.__name__} events, expected 1")
    return found[0]


class UnexpectedEvents(CommonholdError):
    """A mined transaction did not tell what it was sent for."""

    code = "unexpected_events"
