"""The shapes of requests and answers for the OpenAPI document."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from asr.request.values import without_blanks
from gateway.openapi import examples

# fields that OpenAI's transcriptions take and its translations do not
NOT_FOR_TRANSLATIONS = (
    *("task", "language", "languages", "hotwords", "timestamp_granularities", "include", "stream"),
    "chunking_strategy",
)


class Shape(BaseModel):
    model_config = ConfigDict(extra="forbid")


class Query(Shape):
    """Parameters in an address; an empty one is not given."""

    @model_validator(mode="before")
    @classmethod
    def _without_blanks(cls, parameters: dict[str, Any]) -> dict[str, Any]:
        filled = without_blanks(parameters)
        return {
            name: value
            for name, value in parameters.items()
            if name in filled or name not in cls.model_fields
        }


class LanguageQuery(Query):
    """The query of the plain paths."""

    language: str | None = Field(None, description="code, tag or English name; left out, it is detected")


class PictureQuery(LanguageQuery):
    format: Literal["png", "svg"] = Field("png", description="an SVG has every text, a PNG English ones")


class DetectionQuery(Query):
    """The query of /detect-language."""

    model_config = ConfigDict(extra="ignore")

    encode: bool = Field(True, description="false: the file is bare 16-bit mono PCM at 16 kHz")


class WebserviceQuery(DetectionQuery):
    """The query of /asr."""

    task: Literal["transcribe", "translate"] = "transcribe"
    language: str | None = Field(None, description="code, tag or English name; left out, it is detected")
    initial_prompt: str | None = Field(None, description="text before the audio: style, names, spelling")
    vad_filter: bool = Field(True, description="decode only where speech is found")
    word_timestamps: bool = Field(False, description="json lists the words of each segment")
    output: Literal["txt", "vtt", "srt", "tsv", "json"] = "txt"


class DetectedLanguage(Shape):
    """The answer of /detect-language."""

    detected_language: str = Field(examples=["english"])
    language_code: str = Field(examples=["en"], description="Whisper's code")
    confidence: float = Field(description="its probability, 0..1")


class ErrorDetail(Shape):
    message: str
    type: str
    param: str | None
    code: str | None


class Error(Shape):
    """OpenAI's error body, of every failure."""

    error: ErrorDetail = Field(examples=[examples.ERRORS[400]["error"]])


class Usage(Shape):
    """The audio's duration, rounded up to whole seconds."""

    type: Literal["duration"]
    seconds: int


class Logprob(Shape):
    token: str
    logprob: float
    bytes: list[int]


class SpokenLanguage(Shape):
    code: str = Field(examples=["en"], description="ISO 639-1, or 639-3 where it has none")


class Transcription(Shape):
    """response_format=json; `logprobs` only where `include[]=logprobs` asks for them."""

    text: str = Field(examples=[examples.TEXT])
    languages: list[SpokenLanguage] = Field(description="the one asked for or heard; none of silence")
    logprobs: list[Logprob] | None = None
    usage: Usage


class Segment(Shape):
    id: int
    seek: int
    start: float
    end: float
    text: str
    tokens: list[int]
    temperature: float
    avg_logprob: float | None
    compression_ratio: float
    no_speech_prob: float | None


class Word(Shape):
    word: str
    start: float
    end: float
    probability: float | None


class TranscriptionVerbose(Shape):
    """response_format=verbose_json; `segments` and `words` as `timestamp_granularities[]` ask for them."""

    task: Literal["transcribe", "translate"]
    language: str = Field(examples=["english"], description="its English name; empty where nobody speaks")
    duration: float
    text: str = Field(examples=[examples.TEXT])
    segments: list[Segment] | None = None
    words: list[Word] | None = None
    usage: Usage
    model: str = Field(examples=["whisper"], description="that answered: its name in TorchServe")


class Model(Shape):
    id: str = Field(examples=["whisper-1"])
    object: Literal["model"] = "model"
    created: int = Field(description="when the gateway started, Unix time")
    owned_by: str = "whisper-torchserve"
    state: Literal["ready", "loading", "down", "unloading", "unloaded"] = Field(
        "ready", description="whether a worker answers; an unloaded model loads with its first request"
    )
    languages: list[str] = Field([], description="requests in these go to it, if they name no other model")
    root: str = Field("whisper", description="its name in TorchServe, which all of its names share")


class ModelList(Shape):
    object: Literal["list"] = "list"
    data: list[Model]


class Text(Shape):
    """The answer of /transcribe/."""

    text: str = Field(examples=[examples.TEXT])


class BatchResult(Shape):
    """One file's text, or why there is none."""

    filename: str
    text: str | None = None
    error: ErrorDetail | None = None


class BatchResults(Shape):
    """The answer of /transcribe_batch/, in the order of the files."""

    results: list[BatchResult]


class ExpiresAfter(Shape):
    anchor: Literal["created_at"] = "created_at"
    seconds: int = Field(600, ge=10, le=7_200)


class ClientSecretRequest(Shape):
    """What a client secret is for, and for how long."""

    expires_after: ExpiresAfter = ExpiresAfter()
    session: dict[str, Any] | None = Field(None, description="as in `session.update`; see docs/live.md")


class ClientSecret(Shape):
    value: str = Field(examples=["ek_2wJx…"])
    expires_at: int = Field(description="Unix time; streams that are open then go on")
    session: dict[str, Any] = Field(description="the effective session")
