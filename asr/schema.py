"""The values that cross stages: Audio → SpeechSpan → Window → Hypothesis → Segment/Word → Transcript.

Positions are integer samples at 16 kHz inside the core; seconds exist only in options and in rendered
output. Every type is frozen, sequences are tuples.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated, Literal

import numpy as np
from annotated_types import Interval, MaxLen
from numpy.typing import NDArray

from asr.bounds import Unicode
from asr.constants import HOP_LENGTH, MAX_GROUP, SAMPLE_RATE, STFT_CONTEXT, WINDOW_FRAMES, WINDOW_SECONDS

Samples = NDArray[np.int16]  # mono PCM, 16 kHz; value / 32768 is Whisper's float sample

MAX_TOKEN = 2**20
MAX_TOKENS = 4_096  # in any list of them; Whisper's text context is 448
MAX_HOTWORDS = 100
MAX_PREFIX = 200  # tokens; leaves room for a prompt and for what follows
Token = Annotated[int, Interval(ge=0, le=MAX_TOKEN)]
TokenOrKind = Annotated[int, Interval(ge=-2, le=MAX_TOKEN)]  # -1: all non-speech tokens; -2: all timestamps
Tokens = Annotated[tuple[Token, ...], MaxLen(MAX_TOKENS)]
Floats = Annotated[tuple[float, ...], MaxLen(MAX_TOKENS)]  # one for each token
LanguageCode = Annotated[str, MaxLen(16)]  # ISO 639-1
Hotword = Annotated[str, MaxLen(100), Unicode()]
EngineTime = Annotated[float, Interval(ge=0, le=1e9)]  # seconds


@dataclass(frozen=True, slots=True)
class MediaSource:
    """The upload's own format, for the log."""

    container: str  # FFmpeg's format name
    codec: str
    sample_rate: int  # Hz, as found
    channels: int
    bad_packets: int = 0  # packets that did not decode; each shortens the audio


@dataclass(frozen=True, slots=True)
class Audio:
    """A whole utterance, mono at 16 kHz."""

    samples: Samples
    source: MediaSource

    @property
    def duration_s(self) -> float:
        return len(self.samples) / SAMPLE_RATE


@dataclass(frozen=True, slots=True)
class SpeechSpan:
    """A stretch of speech, [start, end) in samples."""

    start: int
    end: int


@dataclass(frozen=True, slots=True)
class DecodingOptions:
    """How one window is decoded; the fields mean what those of openai-whisper's `DecodingOptions` mean.

    An option is declared here alone: the wire checks these bounds, and so do requests unless they allow less.
    """

    task: Literal["transcribe", "translate", "detect_language"] = "transcribe"  # the last decodes no text
    language: LanguageCode | None = None  # None: detect it from this window first
    # candidates for detection; empty: all of the model's
    languages: Annotated[tuple[LanguageCode, ...], MaxLen(200)] = ()
    prompt: Tokens = ()  # previous text, put behind <|startofprev|>
    # what the text begins with: it is not decoded again, nor in the hypothesis. Without timestamps only
    prefix: Annotated[tuple[Token, ...], MaxLen(MAX_PREFIX)] = ()
    temperature: Annotated[float, Interval(ge=0, le=10)] = 0.0
    max_tokens: Annotated[int, Interval(ge=1, le=448)] | None = None  # decoded at most; None: n_text_ctx // 2
    beam_size: Annotated[int, Interval(ge=1, le=MAX_GROUP)] | None = None  # used at temperature 0 only
    best_of: Annotated[int, Interval(ge=1, le=MAX_GROUP)] | None = None  # used at temperatures above 0 only
    patience: Annotated[float, Interval(ge=0, le=100)] | None = None
    length_penalty: Annotated[float, Interval(ge=0, le=1)] | None = None
    suppress_tokens: Annotated[tuple[TokenOrKind, ...], MaxLen(MAX_TOKENS)] = (-1,)
    suppress_blank: bool = True
    without_timestamps: bool = False
    max_initial_timestamp_s: Annotated[float, Interval(ge=0, le=WINDOW_SECONDS)] | None = 1.0
    word_timestamps: bool = False  # also align the tokens to the audio
    token_logprobs: bool = False  # also return each token's log-probability
    # a row that repeats itself may stop once its compression ratio must exceed this; None: it never stops
    loop_limit: Annotated[float, Interval(ge=0, le=1_000)] | None = None
    # of the families beside Whisper, which have no prompt to put them into
    hotwords: Annotated[tuple[Hotword, ...], MaxLen(MAX_HOTWORDS)] = ()
    is_open: bool = False  # more audio will follow: a model that hears streams tells the words so far


@dataclass(frozen=True, slots=True)
class Window:
    """At most 30 s of one utterance and all that is needed to decode it, anywhere, any number of times.

    `samples` holds `left_context` samples before the window's position, the window itself and up to 200
    samples after it: the STFT looks 200 samples past each edge. Without left context the STFT reflects at
    the start, as openai-whisper does at the start of an utterance; samples missing on the right are silence.
    `num_frames` mel frames are computed; those up to `encoder_frames` are zeros in the mel domain. They are
    always 3 000 in openai-whisper; an encoder that hears fewer takes a fraction of the time.
    """

    samples: Samples
    num_frames: Annotated[int, Interval(ge=1, le=WINDOW_FRAMES)]
    options: DecodingOptions = field(default_factory=DecodingOptions)
    left_context: Annotated[int, Interval(ge=0, le=STFT_CONTEXT)] = 0  # samples, 0 or 200
    # log10 maximum over the whole utterance; None: this window's own
    log_mel_max: Annotated[float, Interval(ge=-100, le=100)] | None = None
    encoder_frames: Annotated[int, Interval(ge=2, le=WINDOW_FRAMES)] = WINDOW_FRAMES

    def __post_init__(self) -> None:
        if not 0 < self.num_frames <= WINDOW_FRAMES:
            raise ValueError(f"num_frames is {self.num_frames}, must be 1..{WINDOW_FRAMES}")
        if self.encoder_frames % 2 or not self.num_frames <= self.encoder_frames <= WINDOW_FRAMES:
            lengths = f"even and {self.num_frames}..{WINDOW_FRAMES}"
            raise ValueError(f"encoder_frames is {self.encoder_frames}, must be {lengths}")
        limit = self.num_frames * HOP_LENGTH + 2 * STFT_CONTEXT
        if len(self.samples) > limit:
            raise ValueError(f"window holds {len(self.samples)} samples, at most {limit} fit its frames")


@dataclass(frozen=True, slots=True)
class TokenAlignment:
    """Where each text token of a hypothesis lies in its window (whisper/timing.py, find_alignment)."""

    tokens: Tokens  # text tokens, in order
    # position of each token's first frame, in 20 ms ticks; one more than tokens. -1: openai-whisper's dtw, in
    # windows of one position
    starts: Annotated[tuple[Annotated[int, Interval(ge=-1, le=MAX_TOKEN)], ...], MaxLen(MAX_TOKENS)]
    probs: Floats  # probability of each token given those before it


@dataclass(frozen=True, slots=True)
class Piece:
    """Text of a family beside Whisper, as its vocabulary spells it: a space leads where a word begins."""

    text: Annotated[str, MaxLen(MAX_TOKENS), Unicode()]
    start_ms: Annotated[int, Interval(ge=0, le=60_000)] | None = (
        None  # in the window; None: the family has no times
    )


@dataclass(frozen=True, slots=True)
class EngineSeconds:
    """One window's share of the seconds its batch took."""

    features: EngineTime = 0.0
    encode: EngineTime = 0.0
    decode: EngineTime = 0.0
    words: EngineTime = 0.0


@dataclass(frozen=True, slots=True)
class Hypothesis:
    """What the engine decoded from one window: `tokens` of Whisper, `pieces` of another family.

    A probability is NaN where the family has none; every guard lets NaN pass.
    """

    tokens: Tokens  # without prompt, without end-of-text
    avg_logprob: float
    no_speech_prob: float
    temperature: float
    language: LanguageCode  # the option's, or the detected one
    # of a detected language only: the likeliest ones, best first
    language_probs: Annotated[tuple[tuple[LanguageCode, float], ...], MaxLen(5)] = ()
    truncated: bool = False  # stopped by the token cap, not by end-of-text
    looped: bool = False  # stopped by the loop guard: it repeated an n-gram
    token_logprobs: Floats = ()
    alignment: TokenAlignment | None = None
    seconds: EngineSeconds = field(default_factory=EngineSeconds)
    pieces: Annotated[tuple[Piece, ...], MaxLen(MAX_TOKENS)] = ()
    is_endpoint: bool = False  # of an open window: the model's own rules say that the turn is over


@dataclass(frozen=True, slots=True)
class Word:
    """A word with its place in the utterance."""

    text: str  # with its leading space, as decoded
    start: int  # samples
    end: int  # samples
    probability: float | None  # None: the family has none


@dataclass(frozen=True, slots=True)
class Segment:
    """A timed piece of text in the utterance."""

    start: int  # samples
    end: int  # samples
    text: str  # as decoded, with its leading space
    tokens: tuple[int, ...]  # timestamps included
    seek: int  # where its window began, in mel frames
    temperature: float
    avg_logprob: float | None  # None: the family has none
    compression_ratio: float
    no_speech_prob: float | None  # None: the family has none
    words: tuple[Word, ...] = ()
    token_logprobs: tuple[float, ...] = ()  # of `tokens`; empty unless asked for
    token_bytes: tuple[bytes, ...] = ()  # UTF-8 of `tokens`, b"" for special ones; with `token_logprobs`


@dataclass(frozen=True, slots=True)
class DecodeStats:
    """A session's cost, for the log and the metrics."""

    windows: int = 0  # decoded, every temperature counted
    fallbacks: tuple[tuple[str, int], ...] = ()  # reason → windows rejected for it
    silent_windows: int = 0  # dropped by the no-speech guard
    seconds: EngineSeconds = field(default_factory=EngineSeconds)


@dataclass(frozen=True, slots=True)
class Transcript:
    """The finished text of one utterance."""

    text: str
    segments: tuple[Segment, ...]
    language: str | None  # ISO 639-1 code; None: no speech, and no language was asked for
    task: str
    duration: int  # samples
    stats: DecodeStats
    model: str | None = None  # that answered, where a server has several names for it
