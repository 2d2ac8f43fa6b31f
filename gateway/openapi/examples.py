"""Examples of requests and answers for the OpenAPI document; they fit the shapes in `schemas`."""

from __future__ import annotations

import shlex
from typing import Any

URL = "http://127.0.0.1:8000"

TEXT = "The stale smell of old beer lingers. It takes heat to bring out the odor."
TEXT_FILE = TEXT + "\n"
SRT = (
    "1\n00:00:00,416 --> 00:00:02,336\nThe stale smell of old beer lingers.\n\n"
    "2\n00:00:02,936 --> 00:00:04,816\nIt takes heat to bring out the odor.\n\n"
)
VTT = (
    "WEBVTT\n\n00:00:00.416 --> 00:00:02.336\nThe stale smell of old beer lingers.\n\n"
    "00:00:02.936 --> 00:00:04.816\nIt takes heat to bring out the odor.\n\n"
)
TSV = (
    "start\tend\ttext\n416\t2336\tThe stale smell of old beer lingers.\n"
    "2936\t4816\tIt takes heat to bring out the odor.\n"
)
USAGE = {"type": "duration", "seconds": 5}
JSON = {"text": TEXT, "languages": [{"code": "en"}], "usage": USAGE}
VERBOSE_JSON = {
    "task": "transcribe",
    "language": "english",
    "duration": 4.96,
    "text": TEXT,
    "segments": [
        {
            "id": 0,
            "seek": 21,
            "start": 0.416,
            "end": 2.336,
            "text": " The stale smell of old beer lingers.",
            "tokens": [50374, 440, 342, 1220, 4316, 295, 1331, 8795, 22949, 433, 13, 50470],
            "temperature": 0.0,
            "avg_logprob": -0.21,
            "compression_ratio": 1.42,
            "no_speech_prob": 0.01,
        }
    ],
    "words": [{"word": "The", "start": 0.416, "end": 0.52, "probability": 0.99}],
    "usage": USAGE,
    "model": "whisper",
}
EVENTS = (
    'data: {"type": "transcript.text.delta", "delta": "The stale smell of old beer lingers"}\n\n'
    'data: {"type": "transcript.text.segment", "id": "0", "start": 0.416, "end": 2.336, '
    '"text": " The stale smell of old beer lingers.", "speaker": "", …}\n\n'
    'data: {"type": "transcript.text.delta", "delta": "."}\n\n'
    'data: {"type": "transcript.text.done", "text": "The stale smell of old beer lingers.", '
    '"languages": [{"code": "en"}], "usage": {"type": "tokens", "input_tokens": 118, "output_tokens": 12, '
    '"total_tokens": 130, '
    '"input_token_details": {"audio_tokens": 118}, "seconds": 3}}\n\n'
)
MODEL = {"id": "whisper-1", "object": "model", "created": 1767225600, "owned_by": "whisper-torchserve"}
MODELS = {"object": "list", "data": [MODEL]}
PLAIN = {"text": TEXT}
CLIENT_SECRET = {
    "value": "ek_Jx3…",
    "expires_at": 1767226200,
    "session": {
        "id": "sess_6f1c…",
        "object": "realtime.transcription_session",
        "type": "transcription",
        "expires_at": 1767229200,
        "include": None,
        "audio": {
            "input": {
                "format": {"type": "audio/pcm", "rate": 24000},
                "transcription": {"model": "whisper-1", "language": None, "prompt": ""},
                "noise_reduction": None,
                "turn_detection": {
                    "type": "server_vad",
                    "threshold": 0.5,
                    "prefix_padding_ms": 300,
                    "silence_duration_ms": 500,
                },
            }
        },
    },
}
DETECTED_LANGUAGE = {"detected_language": "english", "language_code": "en", "confidence": 0.98}


def error(message: str, code: str, param: str | None = None, type: str = "invalid_request_error") -> Any:
    """OpenAI's error body."""
    return {"error": {"message": message, "type": type, "param": param, "code": code}}


ERRORS = {
    400: error("temperature is '2', must be a number 0..1", "invalid_value", "temperature"),
    401: error("an API key is needed: send `Authorization: Bearer KEY`", "invalid_api_key"),
    403: error(
        "loading and unloading models takes a key with `may_load: true` in the keys file", "permission_denied"
    ),
    404: error(
        "The model `gpt-9` does not exist or you do not have access to it.", "model_not_found", "model"
    ),
    408: error("no byte of the request's body came for 15 s", "upload_timeout"),
    413: error("the audio lasts 15000.0 s, this server takes at most 14400 s", "too_large", "file"),
    415: error("the upload is not audio this server can decode", "unsupported_media", "file"),
    429: error(
        "rate limit of this key: 60 requests per minute; try again in 7 s",
        "rate_limit_exceeded",
        type="rate_limit_error",
    ),
    500: error("the engine failed on this window", "engine_failure", type="server_error"),
    503: error("the model is not loaded yet; try again in a moment", "not_ready", type="server_error"),
    504: error("the request was not finished within 30 s", "deadline_exceeded", type="server_error"),
}
BATCH = {
    "results": [
        {"filename": "harvard.wav", "text": TEXT},
        {"filename": "notes.txt", **ERRORS[415]},
    ]
}


def request(path: str, *fields: str) -> dict[str, Any]:
    """A form as `curl` sends it, under the key where documentation pages look for code samples."""
    form = " ".join(f"-F {field}" for field in fields)
    source = f"curl {form} {shlex.quote(URL + path)}"
    return {"x-codeSamples": [{"lang": "Shell", "label": "curl", "source": source}]}
