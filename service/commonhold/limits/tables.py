"""The budget of each lease: what tokens may claim of it and what receipts have acknowledged. Only budget.py writes.

There is no foreign key to the mirror's lease: a reorg takes that row away for a moment, and what was granted on its
word must stay counted when it comes back.
"""

import sqlalchemy as sa

from commonhold.db import metadata

budget = sa.Table(
    "budget",
    metadata,
    sa.Column("lease", sa.LargeBinary(32), primary_key=True),
    sa.Column("limit_ms", sa.BigInteger, nullable=False, comment="of the whole lease, GPU-ms"),
    sa.Column("granted_ms", sa.BigInteger, nullable=False, comment="the last token's cumulative limit"),
    sa.Column("receipted_ms", sa.BigInteger, nullable=False, comment="cumulative GPU-ms that both sides signed"),
    sa.CheckConstraint("limit_ms >= 0", name="limit"),
    sa.CheckConstraint("granted_ms >= 0 AND granted_ms <= limit_ms", name="granted"),
    sa.CheckConstraint("receipted_ms >= 0 AND receipted_ms <= limit_ms", name="receipted"),
)
