"""What access remembers: tokens by their hash, what was used once, redemptions being relayed, answers to repeat.

No token, proof or nonce is stored, only SHA-256 of its id: whoever reads the database can use none of them. There is no
foreign key to the mirror's lease, because a reorg may take that row away and bring it back.
"""

import sqlalchemy as sa

from commonhold.db import metadata

access_token = sa.Table(
    "access_token",
    metadata,
    sa.Column("jti_hash", sa.LargeBinary(32), primary_key=True),
    sa.Column("lease", sa.LargeBinary(32), nullable=False, index=True),
    sa.Column("jkt", sa.String(43), nullable=False),
    sa.Column("client_id", sa.String(128), nullable=False),
    sa.Column("subject_type", sa.String(16), nullable=False, comment="redemption, siwe or receipt"),
    sa.Column("limit_ms", sa.BigInteger, nullable=False, comment="cumulative, as the token says"),
    sa.Column("issued_at", sa.BigInteger, nullable=False),
    sa.Column("expires_at", sa.BigInteger, nullable=False, index=True),
    sa.Column("revoked_at", sa.BigInteger, nullable=True, comment="null: not revoked; set once, never cleared"),
    sa.CheckConstraint("expires_at > issued_at", name="lifetime"),
)

access_proof = sa.Table(
    "access_proof",
    metadata,
    sa.Column("jkt", sa.String(43), primary_key=True),
    sa.Column("jti_hash", sa.LargeBinary(32), primary_key=True),
    sa.Column("until", sa.BigInteger, nullable=False, index=True, comment="later the proof is too old anyway"),
)

access_nonce = sa.Table(
    "access_nonce",
    metadata,
    sa.Column("nonce_hash", sa.LargeBinary(32), primary_key=True),
    sa.Column("until", sa.BigInteger, nullable=False, index=True, comment="later the nonce has ended anyway"),
)

# One relay of a redemption at a time: two would both pay gas, and one would fail.
relay = sa.Table(
    "relay",
    metadata,
    sa.Column("lease", sa.LargeBinary(32), primary_key=True),
    sa.Column("claimed_until", sa.BigInteger, nullable=False, comment="a claim left by a crash lapses then"),
    sa.Column("tries", sa.Integer, nullable=False),
)

# Idempotency-Key: the request's hash, and what it was answered.
access_answer = sa.Table(
    "access_answer",
    metadata,
    sa.Column("key_hash", sa.LargeBinary(32), primary_key=True, comment="of client, session key and Idempotency-Key"),
    sa.Column("request_hash", sa.LargeBinary(32), nullable=False),
    sa.Column(
        "claims", sa.LargeBinary, nullable=True, comment="of the token as JSON, without signature; null: at work"
    ),
    sa.Column("until", sa.BigInteger, nullable=False, index=True),
)
