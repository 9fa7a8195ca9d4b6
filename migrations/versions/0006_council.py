"""mirror: members that leave and recover, the council, retired assets, revenue, and leases that change

The contracts are others, so that nothing which was mirrored stays true: the mirror is emptied, and the next `commonhold
serve` follows the chain from the deployment on. Tables of the other stages stay as they are.
"""

import runpy
from pathlib import Path

import sqlalchemy as sa
from alembic import op

revision = "0006_council"
down_revision = "0005_history"
branch_labels = None
depends_on = None

# What was there before, in the order in which tables refer to each other.
_BEFORE = ("member", "asset_class", "asset", "device", "holding", "offer", "credit", "lease", "delivered", "anchor")
_NOW = (
    *("member", "setting", "signer", "proposal", "vote", "asset_class", "asset", "device", "holding", "claim"),
    *("commons_claim", "offer", "credit", "lease", "former_key", "delivered", "anchor"),
)


def upgrade() -> None:
    _drop(_BEFORE)
    op.create_table(
        "member",
        sa.Column("address", sa.LargeBinary(20), nullable=False),
        sa.Column("nullifier", sa.LargeBinary(32), nullable=True, comment="null: it took another's place"),
        sa.Column("controller", sa.LargeBinary(20), nullable=True, comment="null: nobody controls it"),
        sa.Column("root", sa.LargeBinary(20), nullable=False, comment="the group it counts in"),
        sa.Column("since", sa.BigInteger, nullable=False, comment="start of the unbroken membership"),
        sa.Column("until", sa.BigInteger, nullable=False, comment="0: it was replaced"),
        sa.Column("counted", sa.Boolean, nullable=False, comment="a root that is among the groups"),
        sa.Column("refuses_gifts", sa.Boolean, nullable=False, comment="it takes only what it asked for"),
        sa.Column("successor", sa.LargeBinary(20), nullable=True, comment="who took its place; null: nobody"),
        sa.Column(
            "detach_ready_at", sa.BigInteger, nullable=True, comment="when it can leave its group; null: it stays"
        ),
        sa.Column("recovery_to", sa.LargeBinary(20), nullable=True, comment="who is to take its place; null: nobody"),
        sa.Column("recovery_ready_at", sa.BigInteger, nullable=True),
        sa.PrimaryKeyConstraint("address", name=op.f("pk_member")),
        sa.UniqueConstraint("nullifier", name=op.f("uq_member_nullifier")),
    )
    op.create_index(op.f("ix_member_root"), "member", ["root"], unique=False)
    op.create_table(
        "setting",
        sa.Column("contract", sa.String(16), nullable=False),
        sa.Column("name", sa.String(32), nullable=False),
        sa.Column("subject", sa.LargeBinary(32), nullable=False),
        sa.Column("value", sa.LargeBinary(32), nullable=True, comment='null: "signers", which has none'),
        sa.Column("changed_at", sa.BigInteger, nullable=True, comment="Unix seconds; null: it is as at the beginning"),
        sa.Column("pending", sa.LargeBinary(32), nullable=True, comment="the value that waits; null: none"),
        sa.Column("ready_at", sa.BigInteger, nullable=True, comment="from when it may be carried out"),
        sa.Column("abdicated", sa.Boolean, nullable=False, comment="it never changes again"),
        sa.PrimaryKeyConstraint("contract", "name", "subject", name=op.f("pk_setting")),
    )
    op.create_table(
        "signer",
        sa.Column("contract", sa.String(16), nullable=False, comment="Members: attesters. Ledger: appraisers"),
        sa.Column("signer", sa.LargeBinary(20), nullable=False),
        sa.Column("signs", sa.Boolean, nullable=False),
        sa.Column("ready_at", sa.BigInteger, nullable=True, comment="when it may be added; null: it was not scheduled"),
        sa.PrimaryKeyConstraint("contract", "signer", name=op.f("pk_signer")),
    )
    op.create_table(
        "proposal",
        sa.Column("proposal_id", sa.LargeBinary(32), nullable=False),
        sa.Column("proposer", sa.LargeBinary(20), nullable=False),
        sa.Column("calls", sa.String, nullable=False, comment="JSON: target, value and data of each"),
        sa.Column("description", sa.String, nullable=False),
        sa.Column("vote_start", sa.LargeBinary(32), nullable=False, comment="the snapshot, Unix seconds"),
        sa.Column("vote_end", sa.LargeBinary(32), nullable=False),
        sa.Column("against", sa.BigInteger, nullable=False, comment="votes"),
        sa.Column("in_favour", sa.BigInteger, nullable=False),
        sa.Column("abstaining", sa.BigInteger, nullable=False),
        sa.Column(
            "ready_at", sa.LargeBinary(32), nullable=True, comment="when it may be executed; null: it is not queued"
        ),
        sa.Column("outcome", sa.String(16), nullable=True, comment="executed, canceled; null: neither yet"),
        sa.Column("block_number", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("proposal_id", name=op.f("pk_proposal")),
    )
    op.create_table(
        "vote",
        sa.Column("proposal_id", sa.LargeBinary(32), nullable=False),
        sa.Column("voter", sa.LargeBinary(20), nullable=False),
        sa.Column("support", sa.Integer, nullable=False, comment="0 against, 1 in favour, 2 abstains"),
        sa.Column("weight", sa.BigInteger, nullable=False),
        sa.Column("reason", sa.String, nullable=False),
        sa.ForeignKeyConstraint(["proposal_id"], ["proposal.proposal_id"], name=op.f("fk_vote_proposal_id")),
        sa.PrimaryKeyConstraint("proposal_id", "voter", name=op.f("pk_vote")),
    )
    op.create_table(
        "asset_class",
        sa.Column("class_id", sa.LargeBinary(32), nullable=False),
        sa.Column("name", sa.String, nullable=False),
        sa.Column("kind", sa.Integer, nullable=False),
        sa.Column("unit", sa.String, nullable=False),
        sa.Column("hold_bps", sa.Integer, nullable=False),
        sa.Column("use_bps", sa.Integer, nullable=False),
        sa.Column("min_level", sa.Integer, nullable=False),
        sa.Column("floor_units", sa.BigInteger, nullable=False),
        sa.Column("total_units", sa.BigInteger, nullable=False),
        sa.CheckConstraint("kind IN (0, 1, 2)", name=op.f("ck_asset_class_kind")),
        sa.CheckConstraint("total_units >= 0", name=op.f("ck_asset_class_total")),
        sa.PrimaryKeyConstraint("class_id", name=op.f("pk_asset_class")),
        sa.UniqueConstraint("name", name=op.f("uq_asset_class_name")),
    )
    op.create_table(
        "asset",
        sa.Column("asset", sa.LargeBinary(32), nullable=False),
        sa.Column("class_id", sa.LargeBinary(32), nullable=False),
        sa.Column("operator", sa.LargeBinary(20), nullable=False),
        sa.Column("units", sa.BigInteger, nullable=False),
        sa.Column("level", sa.Integer, nullable=False),
        sa.Column("policy", sa.String, nullable=False, comment='the appraisal policy, "development" included'),
        sa.Column("content_hash", sa.LargeBinary(32), nullable=False),
        sa.Column("result_hash", sa.LargeBinary(32), nullable=False),
        sa.Column(
            "meter_key", sa.LargeBinary(64), nullable=True, comment="x || y of the node's P-256 key; null: no node"
        ),
        sa.Column(
            "appraised_at", sa.BigInteger, nullable=False, comment="timestamp of the block of the last appraisal"
        ),
        sa.Column("expires_at", sa.BigInteger, nullable=False),
        sa.Column("retired", sa.Boolean, nullable=False, comment="it is in the total of its class no more"),
        sa.Column("commons_price_wei", sa.LargeBinary(32), nullable=False, comment="of 1.000000 units of the commons"),
        sa.Column("accrued_wei", sa.LargeBinary(32), nullable=False, comment="revenue of all its units, ever"),
        sa.Column("claimed_wei", sa.LargeBinary(32), nullable=False, comment="what its holders were paid of it"),
        sa.Column(
            "shared_wei",
            sa.LargeBinary(32),
            nullable=False,
            comment="what of the commons' part was shared among the groups",
        ),
        sa.Column("uri", sa.String, nullable=False),
        sa.ForeignKeyConstraint(["class_id"], ["asset_class.class_id"], name=op.f("fk_asset_class_id")),
        sa.PrimaryKeyConstraint("asset", name=op.f("pk_asset")),
    )
    op.create_index(op.f("ix_asset_class_id"), "asset", ["class_id"], unique=False)
    op.create_table(
        "device",
        sa.Column("device", sa.LargeBinary(32), nullable=False, comment="commitment to the device's identity"),
        sa.Column("asset", sa.LargeBinary(32), nullable=False),
        sa.ForeignKeyConstraint(["asset"], ["asset.asset"], name=op.f("fk_device_asset")),
        sa.PrimaryKeyConstraint("device", name=op.f("pk_device")),
    )
    op.create_index(op.f("ix_device_asset"), "device", ["asset"], unique=False)
    op.create_table(
        "holding",
        sa.Column("asset", sa.LargeBinary(32), nullable=False),
        sa.Column("owner", sa.LargeBinary(20), nullable=False),
        sa.Column("units", sa.BigInteger, nullable=False),
        sa.Column("counted", sa.Boolean, nullable=False, comment="in what its group holds"),
        sa.ForeignKeyConstraint(["asset"], ["asset.asset"], name=op.f("fk_holding_asset")),
        sa.CheckConstraint("units > 0", name=op.f("ck_holding_positive")),
        sa.PrimaryKeyConstraint("asset", "owner", name=op.f("pk_holding")),
    )
    op.create_index(op.f("ix_holding_owner"), "holding", ["owner"], unique=False)
    op.create_table(
        "claim",
        sa.Column("asset", sa.LargeBinary(32), nullable=False),
        sa.Column("account", sa.LargeBinary(20), nullable=False),
        sa.Column(
            "amount_wei", sa.LargeBinary(32), nullable=False, comment="revenue of the asset that it was paid, ever"
        ),
        sa.ForeignKeyConstraint(["asset"], ["asset.asset"], name=op.f("fk_claim_asset")),
        sa.PrimaryKeyConstraint("asset", "account", name=op.f("pk_claim")),
    )
    op.create_index(op.f("ix_claim_account"), "claim", ["account"], unique=False)
    op.create_table(
        "commons_claim",
        sa.Column("root", sa.LargeBinary(20), nullable=False),
        sa.Column(
            "amount_wei",
            sa.LargeBinary(32),
            nullable=False,
            comment="of the commons' revenue that the group was paid, ever",
        ),
        sa.PrimaryKeyConstraint("root", name=op.f("pk_commons_claim")),
    )
    op.create_table(
        "offer",
        sa.Column("credit_id", sa.LargeBinary(32), nullable=False),
        sa.Column("asset", sa.LargeBinary(32), nullable=False),
        sa.Column("window", sa.BigInteger, nullable=False),
        sa.Column("tranche", sa.BigInteger, nullable=False),
        sa.Column(
            "price_wei", sa.LargeBinary(32), nullable=False, comment="per second of one unit; 0: granted, not sold"
        ),
        sa.ForeignKeyConstraint(["asset"], ["asset.asset"], name=op.f("fk_offer_asset")),
        sa.PrimaryKeyConstraint("credit_id", name=op.f("pk_offer")),
    )
    op.create_index(op.f("ix_offer_asset"), "offer", ["asset"], unique=False)
    op.create_table(
        "credit",
        sa.Column("credit_id", sa.LargeBinary(32), nullable=False),
        sa.Column("holder", sa.LargeBinary(20), nullable=False),
        sa.Column("seconds", sa.BigInteger, nullable=False),
        sa.ForeignKeyConstraint(["credit_id"], ["offer.credit_id"], name=op.f("fk_credit_credit_id")),
        sa.CheckConstraint("seconds > 0", name=op.f("ck_credit_positive")),
        sa.PrimaryKeyConstraint("credit_id", "holder", name=op.f("pk_credit")),
    )
    op.create_index(op.f("ix_credit_holder"), "credit", ["holder"], unique=False)
    op.create_table(
        "lease",
        sa.Column("lease", sa.LargeBinary(32), nullable=False),
        sa.Column("holder", sa.LargeBinary(20), nullable=False),
        sa.Column("credit_id", sa.LargeBinary(32), nullable=False),
        sa.Column("seconds", sa.BigInteger, nullable=False),
        sa.Column("starts_at", sa.BigInteger, nullable=False),
        sa.Column("level", sa.Integer, nullable=False, comment="of the asset, when the lease was made"),
        sa.Column("session_key", sa.LargeBinary(64), nullable=False, comment="x || y, P-256; the present one"),
        sa.Column("key_number", sa.Integer, nullable=False, comment="of the session key, from 0"),
        sa.Column("changes", sa.Integer, nullable=False, comment="the number of the next statement about it"),
        sa.Column("part_of", sa.LargeBinary(32), nullable=True, comment="the lease that it was split from"),
        sa.Column("redeemed_block", sa.BigInteger, nullable=False),
        sa.Column("settled_ms", sa.BigInteger, nullable=False, comment="cumulative GPU-ms settled on chain"),
        sa.Column("paid_wei", sa.LargeBinary(32), nullable=False, comment="accrued to the holders of the asset"),
        sa.Column("refunded_wei", sa.LargeBinary(32), nullable=True, comment="null: not refunded"),
        sa.CheckConstraint("(settled_ms + 999) / 1000 <= seconds", name=op.f("ck_lease_within_lease")),
        sa.ForeignKeyConstraint(["credit_id"], ["offer.credit_id"], name=op.f("fk_lease_credit_id")),
        sa.PrimaryKeyConstraint("lease", name=op.f("pk_lease")),
    )
    op.create_index(op.f("ix_lease_credit_id"), "lease", ["credit_id"], unique=False)
    op.create_index(op.f("ix_lease_holder"), "lease", ["holder"], unique=False)
    op.create_table(
        "former_key",
        sa.Column("lease", sa.LargeBinary(32), nullable=False),
        sa.Column("number", sa.Integer, autoincrement=False, nullable=False),
        sa.Column("session_key", sa.LargeBinary(64), nullable=False, comment="x || y, P-256"),
        sa.Column("until", sa.BigInteger, nullable=False),
        sa.ForeignKeyConstraint(["lease"], ["lease.lease"], name=op.f("fk_former_key_lease")),
        sa.PrimaryKeyConstraint("lease", "number", name=op.f("pk_former_key")),
    )
    op.create_table(
        "delivered",
        sa.Column("class_id", sa.LargeBinary(32), nullable=False),
        sa.Column("window", sa.BigInteger, autoincrement=False, nullable=False),
        sa.Column("root", sa.LargeBinary(20), nullable=False),
        sa.Column("level", sa.Integer, autoincrement=False, nullable=False),
        sa.Column("gpu_ms", sa.BigInteger, nullable=False),
        sa.ForeignKeyConstraint(["class_id"], ["asset_class.class_id"], name=op.f("fk_delivered_class_id")),
        sa.PrimaryKeyConstraint("class_id", "window", "root", "level", name=op.f("pk_delivered")),
    )
    op.create_table(
        "anchor",
        sa.Column("submitter", sa.LargeBinary(20), nullable=False),
        sa.Column("epoch", sa.BigInteger, autoincrement=False, nullable=False),
        sa.Column("root", sa.LargeBinary(32), nullable=False),
        sa.Column("previous", sa.LargeBinary(32), nullable=False),
        sa.Column("count", sa.BigInteger, nullable=False),
        sa.Column("gpu_ms", sa.LargeBinary(32), nullable=False, comment="as claimed by the submitter"),
        sa.Column("uri", sa.String, nullable=False),
        sa.Column("block_number", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("submitter", "epoch", name=op.f("pk_anchor")),
    )
    op.create_table(
        "member_history",
        sa.Column("address", sa.LargeBinary(20), autoincrement=False, nullable=False),
        sa.Column("nullifier", sa.LargeBinary(32), autoincrement=False, nullable=True),
        sa.Column("controller", sa.LargeBinary(20), autoincrement=False, nullable=True),
        sa.Column("root", sa.LargeBinary(20), autoincrement=False, nullable=True),
        sa.Column("since", sa.BigInteger, autoincrement=False, nullable=True),
        sa.Column("until", sa.BigInteger, autoincrement=False, nullable=True),
        sa.Column("counted", sa.Boolean, autoincrement=False, nullable=True),
        sa.Column("refuses_gifts", sa.Boolean, autoincrement=False, nullable=True),
        sa.Column("successor", sa.LargeBinary(20), autoincrement=False, nullable=True),
        sa.Column("detach_ready_at", sa.BigInteger, autoincrement=False, nullable=True),
        sa.Column("recovery_to", sa.LargeBinary(20), autoincrement=False, nullable=True),
        sa.Column("recovery_ready_at", sa.BigInteger, autoincrement=False, nullable=True),
        sa.Column("from_block", sa.BigInteger, autoincrement=False, nullable=False),
        sa.Column("gone", sa.Boolean, nullable=False, comment="the row was deleted: all but the key is null"),
        sa.PrimaryKeyConstraint("address", "from_block", name=op.f("pk_member_history")),
    )
    op.create_index(op.f("ix_member_history_from_block"), "member_history", ["from_block"], unique=False)
    op.create_table(
        "setting_history",
        sa.Column("contract", sa.String(16), autoincrement=False, nullable=False),
        sa.Column("name", sa.String(32), autoincrement=False, nullable=False),
        sa.Column("subject", sa.LargeBinary(32), autoincrement=False, nullable=False),
        sa.Column("value", sa.LargeBinary(32), autoincrement=False, nullable=True),
        sa.Column("changed_at", sa.BigInteger, autoincrement=False, nullable=True),
        sa.Column("pending", sa.LargeBinary(32), autoincrement=False, nullable=True),
        sa.Column("ready_at", sa.BigInteger, autoincrement=False, nullable=True),
        sa.Column("abdicated", sa.Boolean, autoincrement=False, nullable=True),
        sa.Column("from_block", sa.BigInteger, autoincrement=False, nullable=False),
        sa.Column("gone", sa.Boolean, nullable=False, comment="the row was deleted: all but the key is null"),
        sa.PrimaryKeyConstraint("contract", "name", "subject", "from_block", name=op.f("pk_setting_history")),
    )
    op.create_index(op.f("ix_setting_history_from_block"), "setting_history", ["from_block"], unique=False)
    op.create_table(
        "signer_history",
        sa.Column("contract", sa.String(16), autoincrement=False, nullable=False),
        sa.Column("signer", sa.LargeBinary(20), autoincrement=False, nullable=False),
        sa.Column("signs", sa.Boolean, autoincrement=False, nullable=True),
        sa.Column("ready_at", sa.BigInteger, autoincrement=False, nullable=True),
        sa.Column("from_block", sa.BigInteger, autoincrement=False, nullable=False),
        sa.Column("gone", sa.Boolean, nullable=False, comment="the row was deleted: all but the key is null"),
        sa.PrimaryKeyConstraint("contract", "signer", "from_block", name=op.f("pk_signer_history")),
    )
    op.create_index(op.f("ix_signer_history_from_block"), "signer_history", ["from_block"], unique=False)
    op.create_table(
        "proposal_history",
        sa.Column("proposal_id", sa.LargeBinary(32), autoincrement=False, nullable=False),
        sa.Column("proposer", sa.LargeBinary(20), autoincrement=False, nullable=True),
        sa.Column("calls", sa.String, autoincrement=False, nullable=True),
        sa.Column("description", sa.String, autoincrement=False, nullable=True),
        sa.Column("vote_start", sa.LargeBinary(32), autoincrement=False, nullable=True),
        sa.Column("vote_end", sa.LargeBinary(32), autoincrement=False, nullable=True),
        sa.Column("against", sa.BigInteger, autoincrement=False, nullable=True),
        sa.Column("in_favour", sa.BigInteger, autoincrement=False, nullable=True),
        sa.Column("abstaining", sa.BigInteger, autoincrement=False, nullable=True),
        sa.Column("ready_at", sa.LargeBinary(32), autoincrement=False, nullable=True),
        sa.Column("outcome", sa.String(16), autoincrement=False, nullable=True),
        sa.Column("block_number", sa.BigInteger, autoincrement=False, nullable=True),
        sa.Column("from_block", sa.BigInteger, autoincrement=False, nullable=False),
        sa.Column("gone", sa.Boolean, nullable=False, comment="the row was deleted: all but the key is null"),
        sa.PrimaryKeyConstraint("proposal_id", "from_block", name=op.f("pk_proposal_history")),
    )
    op.create_index(op.f("ix_proposal_history_from_block"), "proposal_history", ["from_block"], unique=False)
    op.create_table(
        "vote_history",
        sa.Column("proposal_id", sa.LargeBinary(32), autoincrement=False, nullable=False),
        sa.Column("voter", sa.LargeBinary(20), autoincrement=False, nullable=False),
        sa.Column("support", sa.Integer, autoincrement=False, nullable=True),
        sa.Column("weight", sa.BigInteger, autoincrement=False, nullable=True),
        sa.Column("reason", sa.String, autoincrement=False, nullable=True),
        sa.Column("from_block", sa.BigInteger, autoincrement=False, nullable=False),
        sa.Column("gone", sa.Boolean, nullable=False, comment="the row was deleted: all but the key is null"),
        sa.PrimaryKeyConstraint("proposal_id", "voter", "from_block", name=op.f("pk_vote_history")),
    )
    op.create_index(op.f("ix_vote_history_from_block"), "vote_history", ["from_block"], unique=False)
    op.create_table(
        "asset_class_history",
        sa.Column("class_id", sa.LargeBinary(32), autoincrement=False, nullable=False),
        sa.Column("name", sa.String, autoincrement=False, nullable=True),
        sa.Column("kind", sa.Integer, autoincrement=False, nullable=True),
        sa.Column("unit", sa.String, autoincrement=False, nullable=True),
        sa.Column("hold_bps", sa.Integer, autoincrement=False, nullable=True),
        sa.Column("use_bps", sa.Integer, autoincrement=False, nullable=True),
        sa.Column("min_level", sa.Integer, autoincrement=False, nullable=True),
        sa.Column("floor_units", sa.BigInteger, autoincrement=False, nullable=True),
        sa.Column("total_units", sa.BigInteger, autoincrement=False, nullable=True),
        sa.Column("from_block", sa.BigInteger, autoincrement=False, nullable=False),
        sa.Column("gone", sa.Boolean, nullable=False, comment="the row was deleted: all but the key is null"),
        sa.PrimaryKeyConstraint("class_id", "from_block", name=op.f("pk_asset_class_history")),
    )
    op.create_index(op.f("ix_asset_class_history_from_block"), "asset_class_history", ["from_block"], unique=False)
    op.create_table(
        "asset_history",
        sa.Column("asset", sa.LargeBinary(32), autoincrement=False, nullable=False),
        sa.Column("class_id", sa.LargeBinary(32), autoincrement=False, nullable=True),
        sa.Column("operator", sa.LargeBinary(20), autoincrement=False, nullable=True),
        sa.Column("units", sa.BigInteger, autoincrement=False, nullable=True),
        sa.Column("level", sa.Integer, autoincrement=False, nullable=True),
        sa.Column("policy", sa.String, autoincrement=False, nullable=True),
        sa.Column("content_hash", sa.LargeBinary(32), autoincrement=False, nullable=True),
        sa.Column("result_hash", sa.LargeBinary(32), autoincrement=False, nullable=True),
        sa.Column("meter_key", sa.LargeBinary(64), autoincrement=False, nullable=True),
        sa.Column("appraised_at", sa.BigInteger, autoincrement=False, nullable=True),
        sa.Column("expires_at", sa.BigInteger, autoincrement=False, nullable=True),
        sa.Column("retired", sa.Boolean, autoincrement=False, nullable=True),
        sa.Column("commons_price_wei", sa.LargeBinary(32), autoincrement=False, nullable=True),
        sa.Column("accrued_wei", sa.LargeBinary(32), autoincrement=False, nullable=True),
        sa.Column("claimed_wei", sa.LargeBinary(32), autoincrement=False, nullable=True),
        sa.Column("shared_wei", sa.LargeBinary(32), autoincrement=False, nullable=True),
        sa.Column("uri", sa.String, autoincrement=False, nullable=True),
        sa.Column("from_block", sa.BigInteger, autoincrement=False, nullable=False),
        sa.Column("gone", sa.Boolean, nullable=False, comment="the row was deleted: all but the key is null"),
        sa.PrimaryKeyConstraint("asset", "from_block", name=op.f("pk_asset_history")),
    )
    op.create_index(op.f("ix_asset_history_from_block"), "asset_history", ["from_block"], unique=False)
    op.create_table(
        "device_history",
        sa.Column("device", sa.LargeBinary(32), autoincrement=False, nullable=False),
        sa.Column("asset", sa.LargeBinary(32), autoincrement=False, nullable=True),
        sa.Column("from_block", sa.BigInteger, autoincrement=False, nullable=False),
        sa.Column("gone", sa.Boolean, nullable=False, comment="the row was deleted: all but the key is null"),
        sa.PrimaryKeyConstraint("device", "from_block", name=op.f("pk_device_history")),
    )
    op.create_index(op.f("ix_device_history_from_block"), "device_history", ["from_block"], unique=False)
    op.create_table(
        "holding_history",
        sa.Column("asset", sa.LargeBinary(32), autoincrement=False, nullable=False),
        sa.Column("owner", sa.LargeBinary(20), autoincrement=False, nullable=False),
        sa.Column("units", sa.BigInteger, autoincrement=False, nullable=True),
        sa.Column("counted", sa.Boolean, autoincrement=False, nullable=True),
        sa.Column("from_block", sa.BigInteger, autoincrement=False, nullable=False),
        sa.Column("gone", sa.Boolean, nullable=False, comment="the row was deleted: all but the key is null"),
        sa.PrimaryKeyConstraint("asset", "owner", "from_block", name=op.f("pk_holding_history")),
    )
    op.create_index(op.f("ix_holding_history_from_block"), "holding_history", ["from_block"], unique=False)
    op.create_index(op.f("ix_holding_history_owner"), "holding_history", ["owner"], unique=False)
    op.create_table(
        "claim_history",
        sa.Column("asset", sa.LargeBinary(32), autoincrement=False, nullable=False),
        sa.Column("account", sa.LargeBinary(20), autoincrement=False, nullable=False),
        sa.Column("amount_wei", sa.LargeBinary(32), autoincrement=False, nullable=True),
        sa.Column("from_block", sa.BigInteger, autoincrement=False, nullable=False),
        sa.Column("gone", sa.Boolean, nullable=False, comment="the row was deleted: all but the key is null"),
        sa.PrimaryKeyConstraint("asset", "account", "from_block", name=op.f("pk_claim_history")),
    )
    op.create_index(op.f("ix_claim_history_from_block"), "claim_history", ["from_block"], unique=False)
    op.create_table(
        "commons_claim_history",
        sa.Column("root", sa.LargeBinary(20), autoincrement=False, nullable=False),
        sa.Column("amount_wei", sa.LargeBinary(32), autoincrement=False, nullable=True),
        sa.Column("from_block", sa.BigInteger, autoincrement=False, nullable=False),
        sa.Column("gone", sa.Boolean, nullable=False, comment="the row was deleted: all but the key is null"),
        sa.PrimaryKeyConstraint("root", "from_block", name=op.f("pk_commons_claim_history")),
    )
    op.create_index(op.f("ix_commons_claim_history_from_block"), "commons_claim_history", ["from_block"], unique=False)
    op.create_table(
        "offer_history",
        sa.Column("credit_id", sa.LargeBinary(32), autoincrement=False, nullable=False),
        sa.Column("asset", sa.LargeBinary(32), autoincrement=False, nullable=True),
        sa.Column("window", sa.BigInteger, autoincrement=False, nullable=True),
        sa.Column("tranche", sa.BigInteger, autoincrement=False, nullable=True),
        sa.Column("price_wei", sa.LargeBinary(32), autoincrement=False, nullable=True),
        sa.Column("from_block", sa.BigInteger, autoincrement=False, nullable=False),
        sa.Column("gone", sa.Boolean, nullable=False, comment="the row was deleted: all but the key is null"),
        sa.PrimaryKeyConstraint("credit_id", "from_block", name=op.f("pk_offer_history")),
    )
    op.create_index(op.f("ix_offer_history_from_block"), "offer_history", ["from_block"], unique=False)
    op.create_table(
        "credit_history",
        sa.Column("credit_id", sa.LargeBinary(32), autoincrement=False, nullable=False),
        sa.Column("holder", sa.LargeBinary(20), autoincrement=False, nullable=False),
        sa.Column("seconds", sa.BigInteger, autoincrement=False, nullable=True),
        sa.Column("from_block", sa.BigInteger, autoincrement=False, nullable=False),
        sa.Column("gone", sa.Boolean, nullable=False, comment="the row was deleted: all but the key is null"),
        sa.PrimaryKeyConstraint("credit_id", "holder", "from_block", name=op.f("pk_credit_history")),
    )
    op.create_index(op.f("ix_credit_history_from_block"), "credit_history", ["from_block"], unique=False)
    op.create_index(op.f("ix_credit_history_holder"), "credit_history", ["holder"], unique=False)
    op.create_table(
        "lease_history",
        sa.Column("lease", sa.LargeBinary(32), autoincrement=False, nullable=False),
        sa.Column("holder", sa.LargeBinary(20), autoincrement=False, nullable=True),
        sa.Column("credit_id", sa.LargeBinary(32), autoincrement=False, nullable=True),
        sa.Column("seconds", sa.BigInteger, autoincrement=False, nullable=True),
        sa.Column("starts_at", sa.BigInteger, autoincrement=False, nullable=True),
        sa.Column("level", sa.Integer, autoincrement=False, nullable=True),
        sa.Column("session_key", sa.LargeBinary(64), autoincrement=False, nullable=True),
        sa.Column("key_number", sa.Integer, autoincrement=False, nullable=True),
        sa.Column("changes", sa.Integer, autoincrement=False, nullable=True),
        sa.Column("part_of", sa.LargeBinary(32), autoincrement=False, nullable=True),
        sa.Column("redeemed_block", sa.BigInteger, autoincrement=False, nullable=True),
        sa.Column("settled_ms", sa.BigInteger, autoincrement=False, nullable=True),
        sa.Column("paid_wei", sa.LargeBinary(32), autoincrement=False, nullable=True),
        sa.Column("refunded_wei", sa.LargeBinary(32), autoincrement=False, nullable=True),
        sa.Column("from_block", sa.BigInteger, autoincrement=False, nullable=False),
        sa.Column("gone", sa.Boolean, nullable=False, comment="the row was deleted: all but the key is null"),
        sa.PrimaryKeyConstraint("lease", "from_block", name=op.f("pk_lease_history")),
    )
    op.create_index(op.f("ix_lease_history_from_block"), "lease_history", ["from_block"], unique=False)
    op.create_index(op.f("ix_lease_history_holder"), "lease_history", ["holder"], unique=False)
    op.create_table(
        "former_key_history",
        sa.Column("lease", sa.LargeBinary(32), autoincrement=False, nullable=False),
        sa.Column("number", sa.Integer, autoincrement=False, nullable=False),
        sa.Column("session_key", sa.LargeBinary(64), autoincrement=False, nullable=True),
        sa.Column("until", sa.BigInteger, autoincrement=False, nullable=True),
        sa.Column("from_block", sa.BigInteger, autoincrement=False, nullable=False),
        sa.Column("gone", sa.Boolean, nullable=False, comment="the row was deleted: all but the key is null"),
        sa.PrimaryKeyConstraint("lease", "number", "from_block", name=op.f("pk_former_key_history")),
    )
    op.create_index(op.f("ix_former_key_history_from_block"), "former_key_history", ["from_block"], unique=False)
    op.create_table(
        "delivered_history",
        sa.Column("class_id", sa.LargeBinary(32), autoincrement=False, nullable=False),
        sa.Column("window", sa.BigInteger, autoincrement=False, nullable=False),
        sa.Column("root", sa.LargeBinary(20), autoincrement=False, nullable=False),
        sa.Column("level", sa.Integer, autoincrement=False, nullable=False),
        sa.Column("gpu_ms", sa.BigInteger, autoincrement=False, nullable=True),
        sa.Column("from_block", sa.BigInteger, autoincrement=False, nullable=False),
        sa.Column("gone", sa.Boolean, nullable=False, comment="the row was deleted: all but the key is null"),
        sa.PrimaryKeyConstraint("class_id", "window", "root", "level", "from_block", name=op.f("pk_delivered_history")),
    )
    op.create_index(op.f("ix_delivered_history_from_block"), "delivered_history", ["from_block"], unique=False)
    op.create_table(
        "anchor_history",
        sa.Column("submitter", sa.LargeBinary(20), autoincrement=False, nullable=False),
        sa.Column("epoch", sa.BigInteger, autoincrement=False, nullable=False),
        sa.Column("root", sa.LargeBinary(32), autoincrement=False, nullable=True),
        sa.Column("previous", sa.LargeBinary(32), autoincrement=False, nullable=True),
        sa.Column("count", sa.BigInteger, autoincrement=False, nullable=True),
        sa.Column("gpu_ms", sa.LargeBinary(32), autoincrement=False, nullable=True),
        sa.Column("uri", sa.String, autoincrement=False, nullable=True),
        sa.Column("block_number", sa.BigInteger, autoincrement=False, nullable=True),
        sa.Column("from_block", sa.BigInteger, autoincrement=False, nullable=False),
        sa.Column("gone", sa.Boolean, nullable=False, comment="the row was deleted: all but the key is null"),
        sa.PrimaryKeyConstraint("submitter", "epoch", "from_block", name=op.f("pk_anchor_history")),
    )
    op.create_index(op.f("ix_anchor_history_from_block"), "anchor_history", ["from_block"], unique=False)


def downgrade() -> None:
    """As the migrations before have made them."""
    _drop(_NOW)
    for table in ("cursor", "block", "event", "digest"):
        op.drop_table(table)
    op.drop_index("ix_segment_lease_head", "segment")
    for name in ("0001_mirror.py", "0005_history.py"):
        runpy.run_path(str(Path(__file__).with_name(name)))["upgrade"]()


def _drop(tables: tuple[str, ...]) -> None:
    """None of these is there, nor what they follow from."""
    for table in reversed(tables):
        op.drop_table(f"{table}_history")
        op.drop_table(table)
    for table in ("digest", "event", "block", "cursor"):
        op.execute(sa.delete(sa.table(table)))
