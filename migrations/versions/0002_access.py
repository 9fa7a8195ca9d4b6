"""access: budgets of leases, tokens, what was used once, redemptions being relayed"""

import sqlalchemy as sa
from alembic import op

revision = "0002_access"
down_revision = "0001_mirror"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "budget",
        sa.Column("lease", sa.LargeBinary(32), nullable=False),
        sa.Column("limit_ms", sa.BigInteger, nullable=False, comment="of the whole lease, GPU-ms"),
        sa.Column("granted_ms", sa.BigInteger, nullable=False, comment="the last token's cumulative limit"),
        sa.Column("receipted_ms", sa.BigInteger, nullable=False, comment="cumulative GPU-ms that both sides signed"),
        sa.CheckConstraint("limit_ms >= 0", name="limit"),
        sa.CheckConstraint("granted_ms >= 0 AND granted_ms <= limit_ms", name="granted"),
        sa.CheckConstraint("receipted_ms >= 0 AND receipted_ms <= limit_ms", name="receipted"),
        sa.PrimaryKeyConstraint("lease"),
    )
    op.create_table(
        "access_token",
        sa.Column("jti_hash", sa.LargeBinary(32), nullable=False),
        sa.Column("lease", sa.LargeBinary(32), nullable=False, index=True),
        sa.Column("jkt", sa.String(43), nullable=False),
        sa.Column("client_id", sa.String(128), nullable=False),
        sa.Column("subject_type", sa.String(16), nullable=False, comment="redemption, siwe or receipt"),
        sa.Column("limit_ms", sa.BigInteger, nullable=False, comment="cumulative, as the token says"),
        sa.Column("issued_at", sa.BigInteger, nullable=False),
        sa.Column("expires_at", sa.BigInteger, nullable=False, index=True),
        sa.Column("revoked_at", sa.BigInteger, nullable=True, comment="null: not revoked; set once, never cleared"),
        sa.CheckConstraint("expires_at > issued_at", name="lifetime"),
        sa.PrimaryKeyConstraint("jti_hash"),
    )
    op.create_table(
        "access_proof",
        sa.Column("jkt", sa.String(43), nullable=False),
        sa.Column("jti_hash", sa.LargeBinary(32), nullable=False),
        sa.Column("until", sa.BigInteger, nullable=False, index=True, comment="later the proof is too old anyway"),
        sa.PrimaryKeyConstraint("jkt", "jti_hash"),
    )
    op.create_table(
        "access_nonce",
        sa.Column("nonce_hash", sa.LargeBinary(32), nullable=False),
        sa.Column("until", sa.BigInteger, nullable=False, index=True, comment="later the nonce has ended anyway"),
        sa.PrimaryKeyConstraint("nonce_hash"),
    )
    op.create_table(
        "relay",
        sa.Column("lease", sa.LargeBinary(32), nullable=False),
        sa.Column("claimed_until", sa.BigInteger, nullable=False, comment="a claim left by a crash lapses then"),
        sa.Column("tries", sa.Integer, nullable=False),
        sa.PrimaryKeyConstraint("lease"),
    )
    op.create_table(
        "access_answer",
        sa.Column("key_hash", sa.LargeBinary(32), nullable=False, comment="of client, session key and Idempotency-Key"),
        sa.Column("request_hash", sa.LargeBinary(32), nullable=False),
        sa.Column(
            "claims", sa.LargeBinary, nullable=True, comment="of the token as JSON, without signature; null: at work"
        ),
        sa.Column("until", sa.BigInteger, nullable=False, index=True),
        sa.PrimaryKeyConstraint("key_hash"),
    )


def downgrade() -> None:
    for table in ("access_answer", "relay", "access_nonce", "access_proof", "access_token", "budget"):
        op.drop_table(table)
