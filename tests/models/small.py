"""A small world for random histories: few units, tight limits and short windows, so that everything runs out soon."""

from commonhold.chain import deploy
from commonhold.chain.deployment import Deployment
from commonhold.units import UNIT
from tests.actors import APPRAISERS, ATTESTERS, address_of
from tests.models.state import DAY, ClassParams, Genesis

WINDOW_S = 3_600
HORIZON = 2
GPUS, TEXT = "compute/h100-sxm", "data/text"
CLASSES = (
    ClassParams(GPUS, 2, "GPU", hold_bps=4_000, use_bps=1_500, min_level=3, floor_units=10 * UNIT),
    ClassParams(TEXT, 0, "MB", hold_bps=5_000, use_bps=10_000, min_level=0, floor_units=1_000),
)

_SAME = (
    "admissions_per_day", "max_classes", "detach_delay", "recovery_delay", "grace_period", "window_seconds", "horizon",
    "settle_delay", "timelock_delay", "voting_delay", "voting_period", "quorum_bps",
)  # fmt: skip


def genesis() -> deploy.Genesis:
    """What its contracts are made with."""
    return deploy.Genesis(
        attesters=tuple(address_of(role) for role in ATTESTERS),
        attester_threshold=2,
        admissions_per_day=8,
        appraisers=tuple(address_of(role) for role in APPRAISERS),
        appraiser_threshold=2,
        classes=[
            deploy.ClassParams(p.name, p.kind, p.unit, p.hold_bps, p.use_bps, p.min_level, p.floor_units)
            for p in CLASSES
        ],
        window_seconds=WINDOW_S,
        horizon=HORIZON,
        token=None,
        max_classes=4,
        detach_delay=DAY,
        recovery_delay=DAY,
        grace_period=DAY,
        settle_delay=4 * WINDOW_S,
        timelock_delay=DAY,
        voting_delay=WINDOW_S,
        voting_period=DAY,
        quorum_bps=2_000,
    )


def model_genesis(deployment: Deployment) -> Genesis:
    """The same, for the model of a deployment."""
    same = genesis()
    return Genesis(
        chain_id=deployment.chain_id,
        members=deployment.members,
        ledger=deployment.ledger,
        access=deployment.access,
        meter=deployment.meter,
        attesters=frozenset(same.attesters),
        attester_threshold=same.attester_threshold,
        appraisers=frozenset(same.appraisers),
        appraiser_threshold=same.appraiser_threshold,
        classes=CLASSES,
        **{name: getattr(same, name) for name in _SAME},
    )
