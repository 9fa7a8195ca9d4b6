"""Steps 1 and 2: contracts in which the deployer holds no role, and members, two of whom are one group."""

import time

from commonhold import actions, signing
from commonhold.actions import identity_nullifier
from commonhold.chain.deploy import deploy
from commonhold.chain.deployment import Deployment
from commonhold.chain.genesis import ClassParams, Genesis
from commonhold.chain.node import Anvil
from commonhold.chain.powers import roles
from commonhold.chain.rpc import Rpc
from commonhold.demo import show
from commonhold.demo.world import APPRAISERS, ATTESTERS, MEMBERS, WINDOW_SECONDS, Keys, World
from commonhold.units import UNIT, address_text, keccak256, units_text

COMPUTE, DATA, MODEL = "compute/h200-sxm", "data/text", "model/llm"
QUORUM = 2
YEAR_S = 365 * 86_400
GAS_WEI = 10**20
SENDERS = ("relayer", "relayer-of-the-service")

CLASSES = (
    ClassParams(COMPUTE, kind=2, unit="GPU", hold_bps=3_000, use_bps=1_000, min_level=3, floor_units=10 * UNIT),
    ClassParams(DATA, kind=0, unit="MB", hold_bps=4_000, use_bps=4_000, min_level=0, floor_units=UNIT // 10),
    ClassParams(MODEL, kind=1, unit="MB", hold_bps=4_000, use_bps=4_000, min_level=0, floor_units=UNIT // 10),
)


async def deploy_contracts(anvil: Anvil, rpc: Rpc, keys: Keys) -> Deployment:
    """Step 1."""
    show.step(1, "A chain, the contracts, and a deployer without a role")
    await anvil.fund(address_text(keys.address("deployer")), GAS_WEI)
    genesis = Genesis(
        attesters=[keys.address(role) for role in ATTESTERS],
        attester_threshold=QUORUM,
        admissions_per_day=100,
        appraisers=[keys.address(role) for role in APPRAISERS],
        appraiser_threshold=QUORUM,
        classes=CLASSES,
        window_seconds=WINDOW_SECONDS,
        horizon=4,
        token=None,
    )
    deployment = await deploy(rpc, keys.wallet("deployer"), genesis)
    show.fact("anvil", f"{anvil.url}, chain id {deployment.chain_id}")
    for name in ("Members", "Ledger", "Access", "Meter"):
        show.fact(name, address_text(deployment.domain(name).address))
    for params in CLASSES:
        limits = f"one group may own {params.hold_bps / 100:g}% and use {params.use_bps / 100:g}% of a window"
        show.fact(f"class {params.name}", f"{limits}, floor {units_text(params.floor_units)} {params.unit}")

    held = await roles(rpc, deployment, keys.address("deployer"), await rpc.head("latest"))
    show.expect("roles of the deployer", [], held)
    show.fact("roles of the deployer", f"{len(held)}: no key can lift a limit, admit, pause or upgrade")
    return deployment


async def fund(anvil: Anvil, keys: Keys) -> None:
    """Everybody who sends transactions has gas; attesters and appraisers only sign, and have none."""
    for role in (*MEMBERS, *SENDERS):
        await anvil.fund(address_text(keys.address(role)), GAS_WEI)


async def admit_members(world: World) -> None:
    """Step 2."""
    show.step(2, f"{len(MEMBERS)} members, each admitted by {QUORUM} of {len(ATTESTERS)} attesters")
    domain = world.deployment.domain("Members")
    now_s = int(time.time())
    relayer = world.sender("relayer")
    for number, role in enumerate(MEMBERS):
        admission = signing.Admission(
            member=world.keys.address(role),
            nullifier=identity_nullifier(f"demo identity {role}"),
            until=now_s + YEAR_S,
            deadline=now_s + 3_600,
        )
        signers = [ATTESTERS[(number + i) % len(ATTESTERS)] for i in range(QUORUM)]
        quorum = actions.quorum([world.keys.wallet(signer) for signer in signers], domain, admission)
        mined = await actions.admit(relayer, admission, quorum)
        show.fact(role, f"{address_text(admission.member)}, by {' and '.join(signers)}, gas {mined.gas_used}")

    attachment = signing.Attachment(
        member=world.keys.address("affiliate"),
        controller=world.keys.address("provider"),
        nonce=0,
        deadline=now_s + 3_600,
    )
    signatures = [actions.sign(world.keys.wallet(role), domain, attachment) for role in ("affiliate", "provider")]
    await actions.attach(relayer, attachment, *signatures)
    root = await world.view("Members", "rootOf", world.keys.address("affiliate"))
    show.expect("group of the affiliate", world.keys.address("provider"), root)
    show.fact("one group", "provider and affiliate: both signed, every limit counts them together")


async def find_branch(world: World) -> None:
    """A quorum's finding joins the developer's branch to the developer (part of step 5)."""
    finding = signing.Finding(
        member=world.keys.address("branch"),
        controller=world.keys.address("developer"),
        evidence=keccak256(b"extract of the company register: branch belongs to developer"),
        deadline=int(time.time()) + 3_600,
    )
    signers = [world.keys.wallet(role) for role in ATTESTERS[:QUORUM]]
    await actions.find(
        world.sender("relayer"), finding, actions.quorum(signers, world.deployment.domain("Members"), finding)
    )
