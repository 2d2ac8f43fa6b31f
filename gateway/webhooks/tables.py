"""The tables of the webhooks. Times are Unix seconds; `key` is the name of the caller whose rows they are."""

from __future__ import annotations

import sqlalchemy as sa

METADATA = sa.MetaData()
ID = sa.String(64)
Seconds = sa.Double

ENDPOINTS = sa.Table(
    "webhook_endpoints",
    METADATA,
    sa.Column("id", ID, primary_key=True),
    sa.Column("key", sa.String(64), nullable=False),
    sa.Column("serial", sa.BigInteger, nullable=False),  # nanoseconds since 1970: the order of lists
    sa.Column("listed", sa.Boolean, nullable=False),  # false: the webhook_url of jobs, registered by nobody
    sa.Column("name", sa.Text, nullable=False),
    sa.Column("url", sa.Text, nullable=False),
    sa.Column("event_types", sa.JSON, nullable=False),
    sa.Column("created_at", Seconds, nullable=False),
    sa.Column("updated_at", Seconds, nullable=False),
    sa.Column("secret_version", sa.Integer, nullable=False, default=1),  # each rotation adds one
    sa.Column("old_secret_until", Seconds, nullable=False, default=0.0),  # the one before signs until then
    sa.Column("signing_key", sa.String(16), nullable=False),  # the fingerprint of the key file
    sa.Column("disabled_at", Seconds),  # its receiver has answered 410
    sa.Column("lease", ID),  # who delivers to it now
    sa.Column("lease_until", Seconds, nullable=False, default=0.0),
    sa.Index("webhook_endpoints_of_key", "key", "serial"),
)

EVENTS = sa.Table(
    "webhook_events",
    METADATA,
    sa.Column("id", ID, primary_key=True),
    sa.Column("type", sa.String(64), nullable=False),
    sa.Column("created_at", Seconds, nullable=False),
    sa.Column("body", sa.Text, nullable=False),  # as it is signed and sent
)

DELIVERIES = sa.Table(  # one event to one endpoint
    "webhook_deliveries",
    METADATA,
    sa.Column("id", ID, primary_key=True),
    sa.Column("serial", sa.BigInteger, nullable=False),
    sa.Column("event_id", ID, sa.ForeignKey("webhook_events.id"), nullable=False, index=True),
    sa.Column("endpoint_id", ID, sa.ForeignKey("webhook_endpoints.id", ondelete="CASCADE"), nullable=False),
    sa.Column("status", sa.String(16), nullable=False),  # pending, delivered, failed
    sa.Column("tries", sa.Integer, nullable=False, default=0),  # of the schedule that runs
    sa.Column("next_at", Seconds, nullable=False),
    sa.Column("attempts", sa.JSON, nullable=False),  # the log: what each attempt met
    sa.Column("created_at", Seconds, nullable=False),
    sa.Column("finished_at", Seconds),
    sa.Index("webhook_deliveries_due", "status", "next_at"),
    sa.Index("webhook_deliveries_of_endpoint", "endpoint_id", "serial"),
)
