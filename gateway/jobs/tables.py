"""The tables of the jobs. Times are Unix seconds; `key` is the name of the caller whose rows they are.

`serial` orders rows of one kind by age: nanoseconds since 1970, which are unique enough with the id behind.
"""

from __future__ import annotations

import sqlalchemy as sa

from gateway.jobs.database import METADATA

ID = sa.String(64)
KEY = sa.String(64)
Seconds = sa.BigInteger

FILES = sa.Table(
    "job_files",
    METADATA,
    sa.Column("id", ID, primary_key=True),
    sa.Column("key", KEY, nullable=False),
    sa.Column("serial", sa.BigInteger, nullable=False),
    sa.Column("bytes", sa.BigInteger, nullable=False),
    sa.Column("filename", sa.Text, nullable=False),
    sa.Column("purpose", sa.String(32), nullable=False),
    sa.Column("sha256", sa.String(64), nullable=False),
    sa.Column("created_at", Seconds, nullable=False),
    sa.Column("expires_at", Seconds, nullable=False, index=True),
    sa.Index("job_files_of_key", "key", "serial"),
)

UPLOADS = sa.Table(
    "job_uploads",
    METADATA,
    sa.Column("id", ID, primary_key=True),
    sa.Column("key", KEY, nullable=False),
    sa.Column("bytes", sa.BigInteger, nullable=False),  # that the file will have
    sa.Column("filename", sa.Text, nullable=False),
    sa.Column("purpose", sa.String(32), nullable=False),
    sa.Column("status", sa.String(16), nullable=False),
    sa.Column("file_id", ID),  # once it is completed
    sa.Column("file_expires_s", Seconds),  # lifetime of the file; null: the purpose's
    sa.Column("created_at", Seconds, nullable=False),
    sa.Column("expires_at", Seconds, nullable=False, index=True),
)

PARTS = sa.Table(
    "job_parts",
    METADATA,
    sa.Column("id", ID, primary_key=True),
    sa.Column("upload_id", ID, sa.ForeignKey("job_uploads.id", ondelete="CASCADE"), nullable=False),
    sa.Column("bytes", sa.BigInteger, nullable=False),
    sa.Column("created_at", Seconds, nullable=False),
    sa.Index("job_parts_of_upload", "upload_id"),
)

BATCHES = sa.Table(
    "job_batches",
    METADATA,
    sa.Column("id", ID, primary_key=True),
    sa.Column("key", KEY, nullable=False),
    sa.Column("serial", sa.BigInteger, nullable=False),
    sa.Column("status", sa.String(16), nullable=False),
    sa.Column("endpoint", sa.String(64), nullable=False),
    sa.Column("input_file_id", ID, nullable=False),
    sa.Column("completion_window", sa.String(8), nullable=False),
    sa.Column("priority", sa.Integer, nullable=False),
    sa.Column("metadata", sa.JSON),
    sa.Column("digest", sa.String(64), nullable=False),  # SHA-256 of the request that made it
    sa.Column("output_expires_s", Seconds),  # lifetime of its output files; null: the settings'
    sa.Column("delete_after_use", sa.Boolean),  # its files go a while after its end; null: false
    sa.Column("webhook_url", sa.Text),  # that gets its end, beside the endpoints of its key
    sa.Column("output_file_id", ID),
    sa.Column("error_file_id", ID),
    sa.Column("errors", sa.JSON),  # of its lines, if they made it fail
    sa.Column("model", sa.Text),  # of its first line
    sa.Column("total", sa.Integer, nullable=False, default=0),
    sa.Column("completed", sa.Integer, nullable=False, default=0),
    sa.Column("failed", sa.Integer, nullable=False, default=0),
    sa.Column("audio_s", sa.Float, nullable=False, default=0.0),  # of the lines that are done
    sa.Column("attempts", sa.Integer, nullable=False, default=0),  # at validating it, since a line ran
    sa.Column("owner", ID),  # the run that has its lines; an earlier one begins none any more
    *(
        sa.Column(f"{moment}_at", Seconds)
        for moment in ("in_progress", "finalizing", "completed", "failed", "expired", "cancelling")
    ),
    sa.Column("cancelled_at", Seconds),
    sa.Column("created_at", Seconds, nullable=False),
    sa.Column("expires_at", Seconds, nullable=False),
    sa.Index("job_batches_of_key", "key", "serial"),
    sa.Index("job_batches_by_status", "status"),
)

LINES = sa.Table(
    "job_lines",
    METADATA,
    sa.Column("batch_id", ID, sa.ForeignKey("job_batches.id", ondelete="CASCADE"), primary_key=True),
    sa.Column("number", sa.Integer, primary_key=True),  # from 1
    sa.Column("custom_id", sa.String(512), nullable=False),
    sa.Column("position", sa.BigInteger, nullable=False),  # of the line in its file, bytes
    sa.Column("bytes", sa.Integer, nullable=False),
    sa.Column("file_id", ID, index=True),  # of its audio; null: a URL
    sa.Column("status", sa.String(8), nullable=False, default="waiting"),  # waiting, running, done, failed
    sa.Column("attempts", sa.Integer, nullable=False, default=0),  # begun, and not given back by a drain
    sa.Column("answer", sa.Text),  # its line of the output or error file
    sa.UniqueConstraint("batch_id", "custom_id"),
    sa.Index("job_lines_by_status", "batch_id", "status"),
)

REPLIES = sa.Table(  # to requests with an Idempotency-Key
    "job_replies",
    METADATA,
    sa.Column("key", KEY, primary_key=True),
    sa.Column("path", sa.String(128), primary_key=True),
    sa.Column("name", sa.String(255), primary_key=True),  # the Idempotency-Key
    sa.Column("digest", sa.String(64), nullable=False),  # SHA-256 of the request
    sa.Column("body", sa.JSON, nullable=False),
    sa.Column("created_at", Seconds, nullable=False, index=True),
)

GATEWAYS = sa.Table(
    "job_gateways",
    METADATA,
    sa.Column("id", ID, primary_key=True),  # the executor's
    sa.Column("seen_at", sa.Float, nullable=False),
)
