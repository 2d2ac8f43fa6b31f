"""A batch of one request: what `Prefer: respond-async` and /transcribe_async/ make."""

from __future__ import annotations

import asyncio
import json
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from gateway.http.spool import disk_room
from gateway.jobs.batches.new_batch import FIRST, NewBatch
from gateway.jobs.files.catalogue import BATCH, USER_DATA, NewFile
from gateway.jobs.job_service import Jobs
from gateway.jobs.replies import Asked, Reply, digest_of

INPUT_EXPIRES_S = 2 * 86_400  # the batch has a day
CUSTOM_ID = "0"


async def submitted(jobs: Jobs, asked: Asked, audio: Path, fields: Mapping[str, Any], endpoint: str) -> Reply:
    """OpenAI's Batch for one received upload, whose fields have been checked; raises what files and batches
    raise."""
    return await asyncio.to_thread(_submitted, jobs, asked, audio, fields, endpoint)


def _submitted(jobs: Jobs, asked: Asked, audio: Path, fields: Mapping[str, Any], endpoint: str) -> Reply:
    owner = Asked(asked.key, asked.path)  # the files are new in any case
    stored = jobs.files.add(owner, audio, NewFile("audio", USER_DATA, INPUT_EXPIRES_S)).body
    made = [stored["id"]]
    try:
        body = {"file_id": stored["id"], **{name: _plain(value) for name, value in fields.items()}}
        line = {"custom_id": CUSTOM_ID, "method": "POST", "url": endpoint, "body": body}
        with disk_room(), tempfile.NamedTemporaryFile(dir=jobs.incoming) as file:
            file.write(json.dumps(line).encode())
            file.flush()
            new = NewFile("request.jsonl", BATCH, INPUT_EXPIRES_S)
            made.append(jobs.files.add(owner, Path(file.name), new).body["id"])
        digest = digest_of(jobs.files.get(asked.key, stored["id"]).sha256, dict(fields), endpoint)
        reply = jobs.batches.create(asked, NewBatch(made[1], endpoint, priority=FIRST), digest)
    except BaseException:
        _drop(jobs, asked.key, made)
        raise
    if reply.is_replayed:
        _drop(jobs, asked.key, made)
    return reply


async def outcome(jobs: Jobs, key: str, batch_id: str) -> dict[str, Any]:
    """The task of /transcribe_async/: its status, and once it has ended its result or its error; raises
    BatchNotFound."""
    return await asyncio.to_thread(_outcome, jobs, key, batch_id)


def _outcome(jobs: Jobs, key: str, batch_id: str) -> dict[str, Any]:
    batch = jobs.batches.get(key, batch_id)
    result, error = None, None
    if (name := batch["output_file_id"]) is not None:
        result = json.loads(jobs.files.first_line(name))["response"]["body"]
    elif (name := batch["error_file_id"]) is not None:
        line = json.loads(jobs.files.first_line(name))
        error = line["error"] or line["response"]["body"]["error"]
    elif batch["errors"]:
        error = batch["errors"]["data"][0]
    return {"task_id": batch["id"], "status": batch["status"], "result": result, "error": error}


def _plain(value: Any) -> Any:
    """A form's field as JSON: one text where there is one."""
    return value[0] if isinstance(value, list) and len(value) == 1 else value


def _drop(jobs: Jobs, key: str, names: list[str]) -> None:
    for name in names:
        jobs.files.delete(key, name)
