"""mirror: the digest by BLAKE3

The sums that were kept are of another hash: the mirror is emptied, and the next `commonhold serve` follows the chain
from the deployment on. Tables of the other stages stay as they are.
"""

import sqlalchemy as sa
from alembic import op

revision = "0007_balances"
down_revision = "0006_council"
branch_labels = None
depends_on = None

# A table comes after those it refers to.
_STATE = (
    *("member", "setting", "signer", "proposal", "vote", "asset_class", "asset", "device", "holding", "claim"),
    *("commons_claim", "offer", "credit", "lease", "former_key", "delivered", "anchor"),
)


def upgrade() -> None:
    _empty()


def downgrade() -> None:
    _empty()


def _empty() -> None:
    """Nothing is mirrored."""
    for table in reversed(_STATE):
        op.execute(sa.delete(sa.table(f"{table}_history")))
        op.execute(sa.delete(sa.table(table)))
    for table in ("digest", "event", "block", "cursor"):
        op.execute(sa.delete(sa.table(table)))
