"""A Celery task that has the gateway transcribe a file. The work, its queue and its result are the gateway's:
the task submits the file under its own id, and asks again until there is a result.
"""

from __future__ import annotations

import json
import os
from typing import Any

import requests
from celery import Celery

REDIS = os.environ.get("CELERY_REDIS_URL", "redis://127.0.0.1:6379/0")
GATEWAY = os.environ.get("WHISPER_URL", "http://127.0.0.1:8000")
PAUSE_S = float(os.environ.get("WHISPER_PAUSE_S", "2"))  # between two looks at a job
TIMEOUT_S = float(os.environ.get("WHISPER_TIMEOUT_S", "300"))  # of one request, the upload included
UNFINISHED = ("validating", "in_progress", "finalizing", "cancelling")
BUSY = (409, 429, 502, 503, 504)

app = Celery("whisper", broker=REDIS, backend=REDIS)
app.conf.broker_transport_options = {  # a killed worker's task is handed out again after the first of them
    "visibility_timeout": 2 * TIMEOUT_S,
    "unacked_restore_interval": 1,
    "unacked_restore_throttle": 1,
}
http = requests.Session()
http.headers["Authorization"] = f"Bearer {os.environ.get('WHISPER_TOKEN', 'none')}"


class Later(Exception):
    """The gateway is away or busy."""


@app.task(bind=True, acks_late=True, reject_on_worker_lost=True, max_retries=None,
          autoretry_for=(Later,), retry_backoff=1, retry_backoff_max=30)  # fmt: skip
def transcribe(self: Any, path: str, batch_id: str | None = None) -> Any:
    """The API's JSON for the file, which the worker can read; raises RuntimeError with the file's error."""
    if batch_id is None:
        headers = {"Prefer": "respond-async", "Idempotency-Key": self.request.id}
        with open(path, "rb") as audio:
            batch = ask("POST", "/v1/audio/transcriptions", files={"file": audio}, headers=headers).json()
    else:
        batch = ask("GET", f"/v1/batches/{batch_id}").json()
    if batch["status"] in UNFINISHED:
        raise self.retry(args=[path, batch["id"]], countdown=PAUSE_S)
    file_id = batch["output_file_id"] or batch["error_file_id"]
    line = json.loads(ask("GET", f"/v1/files/{file_id}/content").content) if file_id else batch["errors"]
    if not batch["output_file_id"]:
        raise RuntimeError(f"{batch['id']} has {batch['status']}: {line}")
    return line["response"]["body"]


def ask(method: str, path: str, **options: Any) -> requests.Response:
    """The gateway's answer; raises Later, or RuntimeError for a refusal."""
    try:
        response = http.request(method, GATEWAY + path, timeout=TIMEOUT_S, **options)
    except (requests.ConnectionError, requests.Timeout) as error:
        raise Later(str(error)) from error
    if response.status_code in BUSY:
        raise Later(response.text)
    if not response.ok:
        raise RuntimeError(response.text)
    return response
