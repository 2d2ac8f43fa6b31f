"""What the fake TorchServe answers where it decodes nothing, in TorchServe's words."""

from __future__ import annotations

import asyncio
import dataclasses
import json

from asr.errors import AsrError
from asr.schema import Window

NO_WORKER = (
    'Model "whisper" Version 1.0 has no worker to serve inference request. '
    "Please use scale workers API to add workers."
)
BATCH_FAILURES = {  # a whole batch meets it
    "die": (500, "InternalServerException", "Worker died."),
    "killed": (507, "InternalServerException", "Worker died."),  # by SIGKILL or for memory
    "failed": (503, "InternalServerException", "Prediction failed"),  # the handler raised
    "exhausted": (507, "InternalServerException", "Out of resources"),  # it raised MemoryError
}
NO_MEMORY = "not enough memory to decode this window now; try again later"
# met as a window arrives
WINDOW_FAILURES = ("busy", "hang", "garbage", "endless", "reset", "refused", "overloaded")


@dataclasses.dataclass(frozen=True, slots=True)
class Answer:
    status: int
    body: bytes


def torchserve_error(status: int, kind: str, message: str) -> Answer:
    return Answer(status, json.dumps({"code": status, "type": kind, "message": message}).encode())


def refusal(error: AsrError) -> Answer:
    return Answer(error.status, json.dumps(error.body()).encode())


@dataclasses.dataclass(eq=False, slots=True)
class Row:
    """One request that waits for a worker; without a window it is a canary or asks for the model."""

    window: Window | None
    good: Answer
    answer: asyncio.Future[Answer]


def answer_all(rows: list[Row], failure: Answer | None) -> None:
    for row in rows:
        if not row.answer.done():
            row.answer.set_result(failure or row.good)
