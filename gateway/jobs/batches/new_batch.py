"""The body of POST /v1/batches → a checked request for a batch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from gateway.jobs.files.catalogue import check_lifetime
from gateway.jobs.refusals import Refused
from gateway.jobs.replies import digest_of

TRANSCRIPTIONS, TRANSLATIONS = "/v1/audio/transcriptions", "/v1/audio/translations"
ENDPOINTS = (TRANSCRIPTIONS, TRANSLATIONS)
WINDOWS_S = {"24h": 86_400, "48h": 2 * 86_400, "72h": 3 * 86_400, "96h": 4 * 86_400, "120h": 5 * 86_400,
             "144h": 6 * 86_400, "7d": 7 * 86_400}  # fmt: skip  # OpenAI's, and those of Groq
MAX_PAIRS, MAX_NAME_CHARS, MAX_VALUE_CHARS = 16, 64, 512  # of the metadata
FIRST, USUAL, LAST = 1, 5, 9  # priorities within one key
FIELDS = (
    *("input_file_id", "endpoint", "completion_window", "metadata", "output_expires_after", "priority"),
    *("webhook_url", "delete_after_use"),
)


@dataclass(frozen=True, slots=True)
class NewBatch:
    """What a caller asks for."""

    input_file_id: str
    endpoint: str
    completion_window: str = "24h"
    metadata: dict[str, str] | None = None
    output_expires_s: int | None = None  # lifetime of the output files; None: the settings'
    priority: int = USUAL  # smaller ones go first among the batches of one key
    delete_after_use: bool = field(default=False, repr=False)  # its input and audio expire soon after its end
    webhook_url: str | None = None  # gets the event of its end; not yet checked whether it may be asked

    @property
    def digest(self) -> str:
        """By which the same request is recognised, by the release before too: so a new field counts if it is
        set."""
        return digest_of(self, *(["delete_after_use"] if self.delete_after_use else []))

    @property
    def window_s(self) -> int:
        return WINDOWS_S[self.completion_window]


def new_batch(body: Mapping[str, Any]) -> NewBatch:
    """The request in a JSON body; raises Refused."""
    for name in body:
        if name not in FIELDS:
            raise Refused(f"{name[:80]!r} is no field of a batch; known are {', '.join(FIELDS)}", param=name)
    for name in ("input_file_id", "endpoint", "completion_window"):
        if not isinstance(body.get(name), str):
            raise Refused(f"{name} is missing", "missing_required_parameter", param=name)
    _check_choice("endpoint", body["endpoint"], ENDPOINTS)
    _check_choice("completion_window", body["completion_window"], tuple(WINDOWS_S))
    priority = body.get("priority", USUAL)
    if not isinstance(priority, int) or not FIRST <= priority <= LAST:
        raise Refused(f"priority is {priority!r:.80}, must be {FIRST} to {LAST}", param="priority")
    delete_after_use = body.get("delete_after_use", False)
    if not isinstance(delete_after_use, bool):
        raise Refused("delete_after_use must be true or false", param="delete_after_use")
    return NewBatch(
        body["input_file_id"],
        body["endpoint"],
        body["completion_window"],
        _metadata(body.get("metadata")),
        _lifetime(body.get("output_expires_after")),
        priority,
        delete_after_use,
        _webhook_url(body.get("webhook_url")),
    )


def _check_choice(name: str, value: str, choices: tuple[str, ...]) -> None:
    if value not in choices:
        raise Refused(f"{name} is {value[:80]!r}, must be {' or '.join(choices)}", param=name)


def _metadata(value: Any) -> dict[str, str] | None:
    if value is None:
        return None
    if not isinstance(value, dict) or not all(isinstance(text, str) for text in value.values()):
        raise Refused("metadata must be an object of texts", param="metadata")
    if (
        len(value) > MAX_PAIRS
        or any(len(name) > MAX_NAME_CHARS for name in value)
        or any(len(text) > MAX_VALUE_CHARS for text in value.values())
    ):
        raise Refused(
            f"metadata may have {MAX_PAIRS} pairs, names of {MAX_NAME_CHARS} and texts of {MAX_VALUE_CHARS} "
            "characters",
            "metadata_too_large",
            param="metadata",
        )
    return value


def _webhook_url(value: Any) -> str | None:
    if value is not None and not isinstance(value, str):
        raise Refused("webhook_url must be a text", param="webhook_url")
    return value


def _lifetime(value: Any) -> int | None:
    if value is None:
        return None
    if (
        not isinstance(value, dict)
        or value.get("anchor") != "created_at"
        or not isinstance(value.get("seconds"), int)
    ):
        raise Refused(
            "output_expires_after must have anchor: created_at and seconds", param="output_expires_after"
        )
    seconds: int = value["seconds"]
    check_lifetime(seconds, "output_expires_after[seconds]")
    return seconds
