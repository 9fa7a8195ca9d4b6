"""mirror: more room beside each balance on PostgreSQL

A transaction over final blocks may change nearly every balance. All of a page must fit beside what they were, or the
indexes have to follow.
"""

from alembic import op

revision = "0008_room"
down_revision = "0007_balances"
branch_labels = None
depends_on = None


def upgrade() -> None:
    _fill(45)


def downgrade() -> None:
    _fill(70)


def _fill(percent: int) -> None:
    if op.get_bind().dialect.name == "postgresql":
        for table in ("holding", "credit"):
            op.execute(f"ALTER TABLE {table} SET (fillfactor = {percent})")
