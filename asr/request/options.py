"""What a caller may ask for, in the caller's units (seconds, words), as frozen values.

`asr.request.fields` turns the text of a form, a JSON body or a header into these; nothing here parses.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from asr.schema import DecodingOptions

TASKS = ("transcribe", "translate")
RESPONSE_FORMATS = ("json", "text", "srt", "vtt", "tsv", "verbose_json")
GRANULARITIES = ("segment", "word")
LONG_FORMS = ("parallel", "sequential")
COMPRESSION_UNITS = ("auto", "bytes")

TEMPERATURE_LADDER = (0.0, 0.2, 0.4, 0.6, 0.8, 1.0)
PREPEND_PUNCTUATIONS = "\"'“¿([{-"
APPEND_PUNCTUATIONS = "\"'.。,，!！?？:：”)]}、"


@dataclass(frozen=True, slots=True)
class VadOptions:
    """Speech detection (Silero); the defaults suit speech cut for Whisper's 30 s windows."""

    threshold: float = 0.5  # speech probability above which a 32 ms frame is speech
    min_speech_ms: int = 100  # shorter bursts are dropped
    min_silence_ms: int = 500  # shorter pauses do not end a span
    speech_pad_ms: int = 200  # added on both sides of a span
    max_gap_s: float | None = None  # a longer pause starts a new window; None: a window spans any pause


@dataclass(frozen=True, slots=True)
class GuardOptions:
    """Whisper's acceptance rules; None switches a rule off."""

    compression_ratio_threshold: float | None = 2.4
    logprob_threshold: float | None = -1.0
    no_speech_threshold: float | None = 0.6
    # "auto" counts code points where the text is not Latin; "bytes" counts UTF-8, as openai-whisper does
    compression_unit: str = "auto"


@dataclass(frozen=True, slots=True)
class RequestOptions:
    """One request's options, complete and valid."""

    # of every window; its session adds the window's own language, prompt, temperature and loop limit
    decoding: DecodingOptions = field(default_factory=DecodingOptions)
    temperatures: tuple[float, ...] = TEMPERATURE_LADDER
    guards: GuardOptions = field(default_factory=GuardOptions)

    prompt: str | None = None  # openai-whisper's initial_prompt
    carry_initial_prompt: bool = False
    hotwords: tuple[str, ...] = ()  # put into the prompt of every window

    response_format: str = "json"
    granularities: tuple[str, ...] = ("segment",)  # what verbose_json lists; "word" also aligns
    stream: bool = False

    long_form: str = "parallel"
    vad_filter: bool = True  # parallel only; sequential is openai-whisper's algorithm
    vad: VadOptions = field(default_factory=VadOptions)

    condition_on_previous_text: bool = True  # sequential only
    clip_timestamps: tuple[float, ...] = ()  # seconds: start, end, start, end …
    hallucination_silence_threshold: float | None = None  # seconds; sequential, needs word times
    prepend_punctuations: str = PREPEND_PUNCTUATIONS
    append_punctuations: str = APPEND_PUNCTUATIONS

    @property
    def word_timestamps(self) -> bool:
        return "word" in self.granularities
