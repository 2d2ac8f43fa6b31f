"""A batch's row → OpenAI's Batch."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import sqlalchemy as sa

MOMENTS = (*("in_progress", "finalizing", "completed", "failed", "expired", "cancelling", "cancelled"),)


def batch_object(row: sa.Row[Any], positions: Mapping[str, int] | None = None) -> dict[str, Any]:
    """OpenAI's Batch, and beside its fields the seconds of audio that are done and the batch's place.

    positions: how many go before it, for each unfinished batch of its key.
    """
    columns = row._mapping
    errors = row.errors
    return {
        "id": row.id,
        "object": "batch",
        "endpoint": row.endpoint,
        "input_file_id": row.input_file_id,
        "completion_window": row.completion_window,
        "status": row.status,
        "model": row.model,
        "created_at": row.created_at,
        "expires_at": row.expires_at,
        **{f"{moment}_at": columns[f"{moment}_at"] for moment in MOMENTS},
        "output_file_id": row.output_file_id,
        "error_file_id": row.error_file_id,
        "errors": {"object": "list", "data": errors} if errors else None,
        "request_counts": {"total": row.total, "completed": row.completed, "failed": row.failed},
        "audio_seconds": {"processed": round(row.audio_s, 3)},
        "queue_position": (positions or {}).get(row.id),
        "metadata": columns["metadata"],
        "priority": row.priority,
        "usage": None,
    }
