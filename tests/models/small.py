"""A small world for random histories: few units, tight limits and short windows, so that everything runs out soon."""

from commonhold.chain import deploy
from commonhold.chain.deployment import Deployment
from commonhold.units import UNIT
from tests.actors import APPRAISERS, ATTESTERS, address_of
from tests.models.ledger import ClassParams, Genesis

WINDOW_S = 3_600
HORIZON = 2
GPUS, TEXT = "compute/h100-sxm", "data/text"
CLASSES = (
    ClassParams(GPUS, 2, "GPU", hold_bps=4_000, use_bps=1_500, min_level=3, floor_units=10 * UNIT),
    ClassParams(TEXT, 0, "MB", hold_bps=5_000, use_bps=10_000, min_level=0, floor_units=1_000),
)


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
        admissions_per_day=same.admissions_per_day,
        appraisers=frozenset(same.appraisers),
        appraiser_threshold=same.appraiser_threshold,
        classes=CLASSES,
        window_seconds=WINDOW_S,
        horizon=HORIZON,
    )
