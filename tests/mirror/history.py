"""A short history with every event that the contracts emit, one a block: the mirror's words for what they mean."""

from commonhold.chain import events as e
from commonhold.chain import governing as g
from commonhold.chain.stamp import BlockStamp
from commonhold.db import Db
from commonhold.mirror.apply import apply
from commonhold.signing import ZERO32
from commonhold.units import (
    Address,
    AssetId,
    BlockNumber,
    Hash32,
    Units,
    Window,
    class_id,
    credit_id,
)


def address(name: str) -> Address:
    return Address(name.encode().ljust(20, b"."))


def hash32(name: str) -> Hash32:
    return Hash32(name.encode().ljust(32, b"."))


def short(name: str) -> Hash32:
    """A setting's name as the contracts have it."""
    return Hash32(name.encode().ljust(32, b"\0"))


NOBODY = Address(bytes(20))
LEDGER = address("ledger")
PROVIDER, AFFILIATE, DEVELOPER, STRANGER, HEIR = (
    address(role) for role in ("provider", "affiliate", "developer", "stranger", "heir")
)
GPUS, TEXT = class_id("compute/h100-sxm"), class_id("data/text")
NODE, CORPUS = AssetId(2**191 + 1), AssetId(2)
WINDOW = Window(100)
GRANTED, SOLD = credit_id(NODE, WINDOW, 0), credit_id(NODE, WINDOW, 1)
LEASE, PART = hash32("lease"), hash32("part")

HISTORY: tuple[e.ChainEvent, ...] = (
    e.ClassCreated(GPUS, "compute/h100-sxm", 2, "GPU", 2_500, 5_000, 3, Units(8_000_000)),
    e.ClassCreated(TEXT, "data/text", 0, "MB", 10_000, 10_000, 0, Units(1)),
    e.EIP712DomainChanged("Members"),
    e.Admitted(PROVIDER, hash32("provider's"), since=1_000, until=9_000),
    e.Admitted(AFFILIATE, hash32("affiliate's"), since=1_001, until=9_000),
    e.Admitted(DEVELOPER, hash32("developer's"), since=1_002, until=9_000),
    e.Renewed(DEVELOPER, since=1_002, until=9_999),
    e.Registered(
        NODE, GPUS, PROVIDER, Units(8_000_000), 3, "development", hash32("evidence"), hash32("result"),
        (hash32("gpu 1"), hash32("gpu 2")), hash32("x"), hash32("y"), 5_000, "https://node.example",
    ),
    e.CommonsPriced(NODE, 5),
    e.Transfer("Ledger", PROVIDER, NOBODY, PROVIDER, NODE, 2_000_000),
    e.Transfer("Ledger", PROVIDER, NOBODY, LEDGER, NODE, 6_000_000),
    e.Registered(
        CORPUS, TEXT, AFFILIATE, Units(700), 0, "nvidia", hash32("manifest"), hash32("result 2"),
        (), ZERO32, ZERO32, 5_000, "https://corpus.example",
    ),
    e.Transfer("Ledger", AFFILIATE, NOBODY, AFFILIATE, CORPUS, 700),
    e.Transfer("Ledger", PROVIDER, PROVIDER, AFFILIATE, NODE, 500_000),
    e.Transfer("Ledger", PROVIDER, PROVIDER, PROVIDER, NODE, 1_500_000),  # to itself, all of it
    e.Transfer("Ledger", STRANGER, STRANGER, PROVIDER, 999, 0),  # nothing, of no asset: ERC-6909 lets anyone
    e.OperatorSet("Ledger", PROVIDER, AFFILIATE, True),
    e.Approval("Access", DEVELOPER, STRANGER, GRANTED, 5),
    e.AppraisalRenewed(
        NODE, 4, "nvidia", hash32("evidence 2"), hash32("result 3"), hash32("x2"), hash32("y2"), 8_000
    ),
    e.Opened(GRANTED, NODE, 100, 0, 0),
    e.Opened(SOLD, NODE, 100, 1, 10**30),
    e.Transfer("Access", PROVIDER, NOBODY, DEVELOPER, GRANTED, 3_600),
    e.Transfer("Access", DEVELOPER, NOBODY, DEVELOPER, SOLD, 100),
    e.Bought(SOLD, DEVELOPER, 100, 10**32),
    e.Transfer("Access", DEVELOPER, DEVELOPER, AFFILIATE, GRANTED, 600),
    e.Transfer("Access", STRANGER, DEVELOPER, NOBODY, GRANTED, 3_000),
    e.Redeemed(LEASE, DEVELOPER, GRANTED, 3_000, 60_480_000, 3, hash32("session x"), hash32("session y")),
    e.Attached(DEVELOPER, AFFILIATE, DEVELOPER, AFFILIATE, ZERO32),
    e.Attached(AFFILIATE, PROVIDER, AFFILIATE, PROVIDER, hash32("what they saw")),
    e.LeaseSplit(LEASE, PART, 400, 60_480_100, hash32("part x"), hash32("part y")),
    e.Transfer("Access", STRANGER, AFFILIATE, NOBODY, GRANTED, 100),
    e.ToppedUp(LEASE, 100),
    e.KeyRotated(LEASE, 1, hash32("new x"), hash32("new y"), 60_490_000),
    e.Settled(LEASE, GPUS, PROVIDER, 100, 4, 1_000, 1_000, 7 * 10**30, hash32("head 1")),
    e.Settled(LEASE, GPUS, PROVIDER, 100, 4, 1_500, 500, 0, hash32("head 2")),
    e.Accrued(NODE, 7 * 10**30),
    e.Claimed(NODE, PROVIDER, 10**30),
    e.CommonsShared(NODE, 5 * 10**30, 2),
    e.CommonsClaimed(PROVIDER, 10**30),
    e.Refunded(PART, DEVELOPER, 0),
    e.CreditsRefunded(SOLD, DEVELOPER, 1, 1),
    e.Transfer("Ledger", PROVIDER, LEDGER, PROVIDER, NODE, 1_000),
    e.Taken(NODE, PROVIDER, Units(1_000), 1),
    e.OverLimit(GPUS, PROVIDER, 2, 1),
    e.GiftsRefused(AFFILIATE, True),
    e.DetachStarted(AFFILIATE, PROVIDER, hash32("sold"), 5_000),
    e.DetachChallenged(AFFILIATE, STRANGER, hash32("not so"), 6_000),
    e.Detached(AFFILIATE, PROVIDER, PROVIDER, 6_000),  # with the developer below it
    e.DetachStarted(DEVELOPER, AFFILIATE, hash32("sold, too"), 6_500),
    e.DetachCancelled(DEVELOPER),
    e.RecoveryStarted(AFFILIATE, HEIR, hash32("lost"), 7_000),
    e.RecoveryVetoed(AFFILIATE),
    e.RecoveryStarted(AFFILIATE, HEIR, hash32("lost again"), 7_500),
    e.Recovered(AFFILIATE, HEIR, 7_500, 9_000),
    e.Transfer("Ledger", STRANGER, AFFILIATE, HEIR, CORPUS, 700),
    e.UnitsRecovered(CORPUS, AFFILIATE, HEIR, Units(700), 0),
    e.LeaseRecovered(PART, DEVELOPER, DEVELOPER),
    e.Lapsed(PROVIDER),
    e.Retired(CORPUS, TEXT, Units(700)),
    e.Synced(CORPUS, HEIR, Units(700)),
    g.SignerAdded("Ledger", STRANGER),
    g.SignerScheduled("Ledger", PROVIDER, 9_000),
    g.SignerRemoved("Ledger", STRANGER),
    g.SettingChanged("Members", short("threshold"), ZERO32, 2),
    g.SettingScheduled("Ledger", short("holdBps"), GPUS, 3_000, 9_000),
    g.SettingCancelled("Ledger", short("holdBps"), GPUS),
    g.SettingChanged("Ledger", short("holdBps"), GPUS, 2_000),
    g.Abdicated("Members", short("signers"), ZERO32),
    g.ProposalCreated(9, PROVIDER, (LEDGER,), (0,), ("",), (b"data",), 100, 200, "a proposal\0"),
    g.VoteCast(PROVIDER, 9, 1, 1, ""),
    g.VoteCastWithParams(HEIR, 9, 2, 1, "why not", b"params"),
    g.ProposalExtended(9, 300),
    g.ProposalQueued(9, 400),
    g.CallScheduled(hash32("call"), 0, LEDGER, 0, b"data", ZERO32, 100),
    g.CallSalt(hash32("call"), hash32("salt")),
    g.CallExecuted(hash32("call"), 0, LEDGER, 0, b"data"),
    g.ProposalExecuted(9),
    g.ProposalCreated(10, HEIR, (), (), (), (), 100, 200, "another"),
    g.ProposalCanceled(10),
    g.Cancelled(hash32("other call")),
    g.MinDelayChange(0, 100),
    g.TimelockChange(NOBODY, STRANGER),
    g.RoleGranted(ZERO32, STRANGER, PROVIDER),
    g.RoleRevoked(ZERO32, STRANGER, PROVIDER),
    g.RoleAdminChanged(ZERO32, ZERO32, ZERO32),
    e.Anchored(STRANGER, 0, hash32("root 0"), ZERO32, 1, 2**64 - 1, "https://epoch.example/\0"),
    e.Anchored(STRANGER, 1, hash32("root 1"), hash32("anchor 0"), 2**32 - 1, 1_500, ""),
)  # fmt: skip


def stamp(number: int) -> BlockStamp:
    """Block `number` of a chain without forks."""
    return BlockStamp(BlockNumber(number), hash32(f"block {number}"), hash32(f"block {number - 1}"), 1_000 + number)


async def play(db: Db, *, first: int = 1) -> None:
    """The whole history is applied, its first event in block `first`."""
    for number, event in enumerate(HISTORY, start=first):
        await apply(db, stamp(number), event)
