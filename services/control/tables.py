"""The control database's tables as SQLAlchemy sees them; the DDL is in `schemas/control`."""

import sqlalchemy as sa

metadata = sa.MetaData()

organisations = sa.Table(
    "organisations",
    metadata,
    sa.Column("org", sa.String(63), primary_key=True),
    sa.Column("name", sa.String(255), nullable=False),
    sa.Column("redact", sa.Boolean, nullable=False),
    sa.Column("created_at", sa.BigInteger, nullable=False),
)

keys = sa.Table(
    "keys",
    metadata,
    sa.Column("key_id", sa.String(63), primary_key=True),
    sa.Column("org", sa.String(63), sa.ForeignKey("organisations.org"), nullable=False),
    sa.Column("team", sa.String(63), nullable=False),
    sa.Column("name", sa.String(255), nullable=False),
    sa.Column("prefix", sa.String(63), nullable=False),
    sa.Column("sha256", sa.CHAR(64), nullable=False, unique=True),
    sa.Column("created_at", sa.BigInteger, nullable=False),
    sa.Column("revoked_at", sa.BigInteger),
)

job_revisions = sa.Table(
    "job_revisions",
    metadata,
    sa.Column("job", sa.String(63), primary_key=True),
    sa.Column("revision", sa.Integer, primary_key=True),
    sa.Column("target", sa.String(15), nullable=False),
    sa.Column("spec", sa.Text, nullable=False),
    sa.Column("code", sa.CHAR(64), nullable=False),
    sa.Column("graph", sa.Text, nullable=False),
    sa.Column("state", sa.String(15), nullable=False),
    sa.Column("message", sa.Text, nullable=False),
    sa.Column("flink_job", sa.String(63), nullable=False),
    sa.Column("started_from", sa.Text, nullable=False),
    sa.Column("savepoint", sa.Text, nullable=False),
    sa.Column("operator", sa.String(255), nullable=False),
    sa.Column("created_at", sa.BigInteger, nullable=False),
    sa.Column("changed_at", sa.BigInteger, nullable=False),
)

job_locks = sa.Table(
    "job_locks",
    metadata,
    sa.Column("job", sa.String(63), primary_key=True),
    sa.Column("holder", sa.String(255), nullable=False),
    sa.Column("token", sa.CHAR(32), nullable=False),
    sa.Column("taken_at", sa.BigInteger, nullable=False),
    sa.Column("expires_at", sa.BigInteger, nullable=False),
)

alert_sets = sa.Table(
    "alert_sets",
    metadata,
    sa.Column("org", sa.String(63), sa.ForeignKey("organisations.org"), primary_key=True),
    sa.Column("revision", sa.Integer, primary_key=True),
    sa.Column("body", sa.Text, nullable=False),
    sa.Column("actor", sa.String(255), nullable=False),
    sa.Column("changed_at", sa.BigInteger, nullable=False),
)

alert_receivers = sa.Table(
    "alert_receivers",
    metadata,
    sa.Column("org", sa.String(63), sa.ForeignKey("organisations.org"), primary_key=True),
    sa.Column("name", sa.String(63), primary_key=True),
    sa.Column("kind", sa.String(15), nullable=False),
    sa.Column("settings", sa.Text, nullable=False),
    sa.Column("secret", sa.Text, nullable=False),
)

alert_incidents = sa.Table(
    "alert_incidents",
    metadata,
    sa.Column("incident_id", sa.String(63), primary_key=True),
    sa.Column("org", sa.String(63), nullable=False),
    sa.Column("rule", sa.String(127), nullable=False),
    sa.Column("state", sa.String(15), nullable=False),
    sa.Column("message", sa.Text, nullable=False),
    sa.Column("started_at", sa.BigInteger, nullable=False),
    sa.Column("changed_at", sa.BigInteger, nullable=False),
    sa.Column("valid_until", sa.BigInteger, nullable=False),
)

alert_deliveries = sa.Table(
    "alert_deliveries",
    metadata,
    sa.Column("incident_id", sa.String(63), primary_key=True),
    sa.Column("state", sa.String(15), primary_key=True),
    sa.Column("receiver", sa.String(63), primary_key=True),
    sa.Column("org", sa.String(63), nullable=False),
    sa.Column("message", sa.Text, nullable=False),
    sa.Column("status", sa.String(15), nullable=False),
    sa.Column("attempts", sa.Integer, nullable=False),
    sa.Column("error", sa.Text, nullable=False),
    sa.Column("created_at", sa.BigInteger, nullable=False),
    sa.Column("next_at", sa.BigInteger, nullable=False),
    sa.Column("done_at", sa.BigInteger),
)

alert_silences = sa.Table(
    "alert_silences",
    metadata,
    sa.Column("org", sa.String(63), primary_key=True),
    sa.Column("rule", sa.String(127), primary_key=True),
    sa.Column("until", sa.BigInteger, nullable=False),
    sa.Column("reason", sa.Text, nullable=False),
    sa.Column("actor", sa.String(255), nullable=False),
)

budgets = sa.Table(
    "budgets",
    metadata,
    sa.Column("org", sa.String(63), sa.ForeignKey("organisations.org"), primary_key=True),
    sa.Column("name", sa.String(63), primary_key=True),
    sa.Column("team", sa.String(63), nullable=False),
    sa.Column("key_id", sa.String(63), nullable=False),
    sa.Column("provider", sa.String(255), nullable=False),
    sa.Column("model", sa.String(255), nullable=False),
    sa.Column("period", sa.String(15), nullable=False),
    sa.Column("time_zone", sa.String(63), nullable=False),
    sa.Column("unit", sa.String(15), nullable=False),
    sa.Column("amount", sa.BigInteger, nullable=False),
    sa.Column("hard", sa.Boolean, nullable=False),
    sa.Column("thresholds", sa.String(255), nullable=False),
    sa.Column("effective_from", sa.BigInteger, nullable=False),
    sa.Column("effective_to", sa.BigInteger, nullable=False),
    sa.Column("revision", sa.BigInteger, nullable=False),
    sa.Column("changed_at", sa.BigInteger, nullable=False),
)

budget_revisions = sa.Table(
    "budget_revisions",
    metadata,
    sa.Column("org", sa.String(63), sa.ForeignKey("organisations.org"), primary_key=True),
    sa.Column("revision", sa.BigInteger, nullable=False),
)

budget_history = sa.Table(
    "budget_history",
    metadata,
    sa.Column("org", sa.String(63), sa.ForeignKey("organisations.org"), primary_key=True),
    sa.Column("revision", sa.BigInteger, primary_key=True),
    sa.Column("name", sa.String(63), nullable=False),
    sa.Column("change", sa.String(15), nullable=False),
    sa.Column("definition", sa.Text, nullable=False),
    sa.Column("actor", sa.String(255), nullable=False),
    sa.Column("reason", sa.Text, nullable=False),
    sa.Column("changed_at", sa.BigInteger, nullable=False),
)
