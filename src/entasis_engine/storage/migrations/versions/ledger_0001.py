"""The first tables of the ledger."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlmodel import AutoString

from entasis_engine.storage.columns import ExactDecimal, UtcMilliseconds

revision = "ledger_0001"
down_revision: str | None = None
branch_labels = None
depends_on = None

OWNERS_KINDS = "kind IN ('free', 'margin')"
KIND_FITS = f"{OWNERS_KINDS} OR (owner = 'house' AND kind IN ('funding', 'market', 'fees', 'insurance'))"
SIDES = "side IN ('long', 'short')"
TRANSACTION_KINDS = "kind IN ('deposit', 'withdrawal', 'open', 'close', 'liquidation')"


def upgrade() -> None:
    owners = op.create_table(
        "owners",
        sa.Column("id", AutoString(), nullable=False),
        sa.Column("fund_time", UtcMilliseconds(), nullable=True),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_table(
        "balances",
        sa.Column("owner", AutoString(), nullable=False),
        sa.Column("kind", AutoString(), nullable=False),
        sa.Column("currency", AutoString(), nullable=False),
        sa.Column("amount", ExactDecimal(), nullable=False),
        sa.PrimaryKeyConstraint("owner", "kind", "currency"),
        sa.ForeignKeyConstraint(["owner"], ["owners.id"]),
        sa.CheckConstraint(KIND_FITS, name="kind_fits"),
        sa.CheckConstraint(f"NOT ({OWNERS_KINDS}) OR CAST(amount AS NUMERIC) >= 0", name="owners_not_negative"),
    )
    op.create_table(
        "positions",
        sa.Column("id", AutoString(), nullable=False),
        sa.Column("owner", AutoString(), nullable=False),
        sa.Column("symbol", AutoString(), nullable=False),
        sa.Column("side", AutoString(), nullable=False),
        sa.Column("size", ExactDecimal(), nullable=False),
        sa.Column("initial_size", ExactDecimal(), nullable=False),
        sa.Column("entry_notional", ExactDecimal(), nullable=False),
        sa.Column("initial_notional", ExactDecimal(), nullable=False),
        sa.Column("leverage", ExactDecimal(), nullable=False),
        sa.Column("margin", ExactDecimal(), nullable=False),
        sa.Column("fees_paid", ExactDecimal(), nullable=False),
        sa.Column("open_time", UtcMilliseconds(), nullable=False),
        sa.Column("exit_notional", ExactDecimal(), nullable=False),
        sa.Column("realised_pnl", ExactDecimal(), nullable=False),
        sa.Column("status", AutoString(), nullable=False),
        sa.Column("close_time", UtcMilliseconds(), nullable=True),
        sa.PrimaryKeyConstraint("id"),
        sa.ForeignKeyConstraint(["owner"], ["owners.id"]),
        sa.CheckConstraint(SIDES, name="side_known"),
        sa.CheckConstraint("status IN ('open', 'closed', 'liquidated')", name="status_known"),
        sa.CheckConstraint("(status = 'open') = (CAST(size AS NUMERIC) > 0)", name="open_has_size"),
        sa.CheckConstraint("(status = 'open') = (close_time IS NULL)", name="open_has_no_end"),
        sa.CheckConstraint(
            "CAST(size AS NUMERIC) >= 0 AND CAST(initial_size AS NUMERIC) > 0", name="size_not_negative"
        ),
        sa.CheckConstraint("CAST(margin AS NUMERIC) >= 0", name="margin_not_negative"),
        sa.CheckConstraint("CAST(fees_paid AS NUMERIC) >= 0", name="fees_not_negative"),
        sa.CheckConstraint("CAST(leverage AS NUMERIC) >= 1", name="leverage_from_1"),
    )
    op.create_index("positions_of_owner", "positions", ["owner", "open_time", "id"])
    is_open = sa.text("status = 'open'")
    op.create_index(
        "positions_open", "positions", ["owner", "open_time", "id"], sqlite_where=is_open, postgresql_where=is_open
    )
    op.create_table(
        "transactions",
        sa.Column("id", AutoString(), nullable=False),
        sa.Column("kind", AutoString(), nullable=False),
        sa.Column("create_time", UtcMilliseconds(), nullable=False),
        sa.Column("position_id", AutoString(), nullable=True),
        sa.PrimaryKeyConstraint("id"),
        sa.ForeignKeyConstraint(["position_id"], ["positions.id"]),
        sa.CheckConstraint(TRANSACTION_KINDS, name="kind_known"),
    )
    op.create_table(
        "entries",
        sa.Column("transaction_id", AutoString(), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("owner", AutoString(), nullable=False),
        sa.Column("kind", AutoString(), nullable=False),
        sa.Column("currency", AutoString(), nullable=False),
        sa.Column("amount", ExactDecimal(), nullable=False),
        sa.Column("create_time", UtcMilliseconds(), nullable=False),
        sa.PrimaryKeyConstraint("transaction_id", "number"),
        sa.ForeignKeyConstraint(["transaction_id"], ["transactions.id"]),
        sa.CheckConstraint(KIND_FITS, name="kind_fits"),
        sa.CheckConstraint("CAST(amount AS NUMERIC) <> 0", name="amount_not_zero"),
    )
    of_owner = sa.text(OWNERS_KINDS)
    op.create_index(
        "entries_of_owner",
        "entries",
        ["owner", "create_time", "transaction_id", "number"],
        sqlite_where=of_owner,
        postgresql_where=of_owner,
    )
    op.create_table(
        "trades",
        sa.Column("id", AutoString(), nullable=False),
        sa.Column("owner", AutoString(), nullable=False),
        sa.Column("position_id", AutoString(), nullable=False),
        sa.Column("transaction_id", AutoString(), nullable=False),
        sa.Column("kind", AutoString(), nullable=False),
        sa.Column("symbol", AutoString(), nullable=False),
        sa.Column("side", AutoString(), nullable=False),
        sa.Column("size", ExactDecimal(), nullable=False),
        sa.Column("notional", ExactDecimal(), nullable=False),
        sa.Column("fee", ExactDecimal(), nullable=False),
        sa.Column("realised_pnl", ExactDecimal(), nullable=False),
        sa.Column("create_time", UtcMilliseconds(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
        sa.ForeignKeyConstraint(["position_id"], ["positions.id"]),
        sa.ForeignKeyConstraint(["transaction_id"], ["transactions.id"]),
        sa.UniqueConstraint("transaction_id"),
        sa.CheckConstraint(SIDES, name="side_known"),
        sa.CheckConstraint(TRANSACTION_KINDS, name="kind_known"),
        sa.CheckConstraint("CAST(size AS NUMERIC) > 0", name="size_above_0"),
        sa.CheckConstraint("CAST(notional AS NUMERIC) >= 0 AND CAST(fee AS NUMERIC) >= 0", name="not_negative"),
    )
    op.create_index("trades_of_owner", "trades", ["owner", "create_time", "id"])
    op.create_index("trades_of_position", "trades", ["position_id", "create_time", "id"])
    op.create_table(
        "idempotency",
        sa.Column("owner", AutoString(), nullable=False),
        sa.Column("key", AutoString(), nullable=False),
        sa.Column("digest", sa.LargeBinary(), nullable=False),
        sa.Column("answer", sa.LargeBinary(), nullable=False),
        sa.Column("create_time", UtcMilliseconds(), nullable=False),
        sa.PrimaryKeyConstraint("owner", "key"),
        sa.ForeignKeyConstraint(["owner"], ["owners.id"]),
    )
    op.create_index("idempotency_by_age", "idempotency", ["create_time"])
    # The row that is locked for the house's balances.
    op.bulk_insert(owners, [{"id": "house", "fund_time": None}])
