"""How a stream is configured: OpenAI's transcription session, checked, with its defaults.

Unknown fields are ignored, as are those for a model that answers: the effective session, which every update
returns, shows what counts.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from asr.errors import InvalidOption
from asr.live.pcm_stream import Encoding
from asr.live.turn_detector import TurnRules

LOGPROBS = "item.input_audio_transcription.logprobs"
# models that leave it to the client to end a turn: without turn_detection they have none
WITHOUT_VAD = ("gpt-realtime-whisper", "gpt-live-transcribe")
SAMPLES_PER_MS = 16
MAX_PADDING_MS, MAX_SILENCE_MS = 5_000, 20_000
SENTENCE_SILENCE_MS = 400  # ends a turn behind a finished sentence
SEMANTIC_SILENCE_MS = {"low": 8_000, "medium": 4_000, "auto": 4_000, "high": 2_000}  # elsewhere
SEMANTIC_PREFIX_MS = 300


def _without_nulls(value: Any) -> Any:
    """A cleared field is as if it had never been set."""
    return (
        {name: leaf for name, leaf in value.items() if leaf is not None} if isinstance(value, dict) else value
    )


class Part(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True)


class Pcm(Part):
    type: Literal["audio/pcm"] = "audio/pcm"
    rate: Literal[24_000] = 24_000


class Mulaw(Part):
    type: Literal["audio/pcmu"]


class Alaw(Part):
    type: Literal["audio/pcma"]


class NoiseReduction(Part):
    """Accepted and shown; the model hears the sound as it is."""

    type: Literal["near_field", "far_field"] | None = None
    strength: float = Field(1.0, ge=0, le=1)


class Transcription(Part):
    """What the windows are decoded with. `gateway.http.options` checks the texts, as it does in forms."""

    model: str | None = None
    language: str | None = None
    languages: list[str] | None = None
    prompt: str = ""
    keywords: list[str] | None = None
    delay: Literal["minimal", "low", "medium", "high", "xhigh"] | None = None


class ServerVad(Part):
    type: Literal["server_vad"] = "server_vad"
    threshold: float = Field(0.5, ge=0, le=1)
    prefix_padding_ms: int = Field(300, ge=0, le=MAX_PADDING_MS)
    silence_duration_ms: int = Field(500, ge=0, le=MAX_SILENCE_MS)

    @property
    def rules(self) -> TurnRules:
        return TurnRules(
            self.threshold, self.prefix_padding_ms * SAMPLES_PER_MS, self.silence_duration_ms * SAMPLES_PER_MS
        )


class SemanticVad(Part):
    type: Literal["semantic_vad"]
    eagerness: Literal["low", "medium", "high", "auto"] = "auto"

    @property
    def rules(self) -> TurnRules:
        return TurnRules(
            prefix_samples=SEMANTIC_PREFIX_MS * SAMPLES_PER_MS,
            silence_samples=SEMANTIC_SILENCE_MS[self.eagerness] * SAMPLES_PER_MS,
            sentence_silence_samples=SENTENCE_SILENCE_MS * SAMPLES_PER_MS,
        )


Format = Annotated[Pcm | Mulaw | Alaw, Field(discriminator="type"), BeforeValidator(_without_nulls)]
TurnDetection = Annotated[
    ServerVad | SemanticVad, Field(discriminator="type"), BeforeValidator(_without_nulls)
]
ENCODINGS: dict[str, Encoding] = {"audio/pcm": "pcm16", "audio/pcmu": "mulaw", "audio/pcma": "alaw"}


class AudioInput(Part):
    format: Format = Pcm()
    transcription: Annotated[Transcription, BeforeValidator(_without_nulls)] = Transcription()
    noise_reduction: Annotated[NoiseReduction | None, BeforeValidator(_without_nulls)] = None
    turn_detection: TurnDetection | None = ServerVad()


class SessionConfig(Part):
    """The effective session."""

    include: list[Literal["item.input_audio_transcription.logprobs"]] | None = None
    input: AudioInput = AudioInput()

    @property
    def encoding(self) -> Encoding:
        return ENCODINGS[self.input.format.type]

    @property
    def rules(self) -> TurnRules | None:
        """When turns begin and end; None: the client commits."""
        detection = self.input.turn_detection
        return None if detection is None else detection.rules

    @property
    def fields(self) -> dict[str, Any]:
        """The same transcription as the fields of /v1/audio/transcriptions, without its model."""
        asked = self.input.transcription
        fields: dict[str, Any] = {
            "language": asked.language,
            "languages": asked.languages,
            "prompt": asked.prompt or None,
            "keywords": asked.keywords,
            "include": ["logprobs"] if self.include else None,
        }
        return {name: value for name, value in fields.items() if value}


def merged(stated: dict[str, Any], patch: dict[str, Any]) -> dict[str, Any]:
    """What the client has stated so far with an update laid over it, leaf by leaf; null clears a leaf.

    A group whose `type` changes is replaced as a whole: the numbers of one detector mean nothing to another.
    """
    result = dict(stated)
    for name, value in patch.items():
        old = result.get(name)
        if (
            isinstance(value, dict)
            and isinstance(old, dict)
            and value.get("type", old.get("type")) == old.get("type")
        ):
            result[name] = merged(old, value)
        else:
            result[name] = value
    return result


def effective(stated: dict[str, Any], default_model: str) -> SessionConfig:
    """The session that the client has stated, {"include": …, "input": {…}}; raises InvalidOption.

    default_model: of a client that names none.
    """
    sound = _without_cleared_groups(stated.get("input"))
    transcription = sound.get("transcription")
    if transcription is None or isinstance(transcription, dict):
        named = (transcription or {}).get("model") or default_model
        sound["transcription"] = {**(transcription or {}), "model": named}
        if isinstance(named, str) and named.startswith(WITHOUT_VAD):
            sound.setdefault("turn_detection", None)
    for group, kind in (("turn_detection", "server_vad"), ("format", "audio/pcm")):
        if isinstance(leaves := sound.get(group), dict) and leaves.get("type") is None:
            sound[group] = {**leaves, "type": kind}
    try:
        return SessionConfig.model_validate({"include": stated.get("include") or None, "input": sound})
    except ValidationError as error:
        raise _complaint(error) from error


def _without_cleared_groups(sound: Any) -> dict[str, Any]:
    """The input's groups; null means the default, but for turn detection, which it switches off."""
    if not isinstance(sound, dict):
        return {}
    return {name: value for name, value in sound.items() if value is not None or name == "turn_detection"}


def _complaint(error: ValidationError) -> InvalidOption:
    first = error.errors()[0]
    tags = {"audio/pcm", "audio/pcmu", "audio/pcma", "server_vad", "semantic_vad"}
    path = [str(part) for part in first["loc"] if part not in tags]
    param = ".".join(["session", *(["audio"] if path[:1] == ["input"] else []), *path])[:120]
    return InvalidOption(f"{param} is {str(first.get('input'))[:80]!r}: {first['msg']}", param=param)
