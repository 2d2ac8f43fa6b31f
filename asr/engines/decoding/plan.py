"""One window's decoding options resolved against the model: initial tokens, limits, what may be sampled."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

from asr.constants import WINDOW_SECONDS
from asr.engines.checkpoints.dimensions import ModelDims
from asr.engines.results import Detection
from asr.errors import InvalidOption
from asr.schema import DecodingOptions, Window
from asr.text.tokenizer import TIMESTAMPS, Tokenizer

TASKS = ("transcribe", "translate", "detect_language")


@dataclass(frozen=True, slots=True)
class DecodePlan:
    """What the search must know of one window; every rule is openai-whisper's DecodingTask's."""

    initial_tokens: tuple[int, ...]  # previous text, sot sequence, prefix
    sot_index: int  # where sot lies in them: the no-speech probability is read there
    language: str
    max_tokens: int  # sampled tokens at most
    temperature: float
    group: int  # rows: beams, samples, or one
    is_beam: bool
    max_candidates: int  # finished beams that end the search
    length_penalty: float | None
    suppressed: tuple[int, ...]
    suppress_blank: bool
    timestamps: bool  # whether the timestamp rules apply
    max_initial_timestamp: int | None  # in ticks of a timestamp token
    seed: int
    loop_limit: float | None  # compression ratio that ends a row in a loop; None: nothing does
    prefix_length: int = 0


def check_options(options: DecodingOptions, tokenizer: Tokenizer) -> None:
    """Raises InvalidOption where the options cannot be decoded by this model."""
    if options.task not in TASKS:
        raise InvalidOption(f"task is {options.task!r}, must be one of {', '.join(TASKS)}", param="task")
    if tokenizer.multilingual:
        for code in (*([options.language] if options.language else []), *options.languages):
            if code not in tokenizer.language_codes:
                raise InvalidOption(
                    f"language {code!r} is not one of the {tokenizer.num_languages} this model knows",
                    param="language",
                )
    for name, tokens in (
        ("prompt", options.prompt),
        ("prefix", options.prefix),
        ("suppress_tokens", options.suppress_tokens),
    ):
        lowest = TIMESTAMPS if name == "suppress_tokens" else 0
        if wrong := [token for token in tokens if not lowest <= token < tokenizer.n_vocab]:
            raise InvalidOption(f"{name} holds {wrong[0]}, not a token of this model", param=name)
    if options.prefix and not options.without_timestamps:
        raise InvalidOption("a prefix has no timestamps: without_timestamps must be true", param="prefix")
    _check_numbers(options)


def _check_numbers(options: DecodingOptions) -> None:
    for name, value in (
        ("beam_size", options.beam_size),
        ("best_of", options.best_of),
        ("max_tokens", options.max_tokens),
    ):
        if value is not None and value < 1:
            raise InvalidOption(f"{name} is {value}, must be at least 1", param=name)
    if not 0 <= options.temperature <= 2:
        raise InvalidOption(f"temperature is {options.temperature}, must be 0..2", param="temperature")
    if options.length_penalty is not None and not 0 <= options.length_penalty <= 1:
        raise InvalidOption(
            f"length_penalty is {options.length_penalty}, must be 0..1", param="length_penalty"
        )
    if options.patience is not None and round((options.beam_size or 1) * options.patience) < 1:
        raise InvalidOption(f"patience is {options.patience}, too small to keep a beam", param="patience")


def search_key(options: DecodingOptions) -> tuple[bool, int]:
    """Whether beams are searched, and rows; windows with the same key can be searched side by side."""
    is_beam = options.temperature == 0 and options.beam_size is not None
    best_of = options.best_of if options.temperature > 0 else None
    return is_beam, (options.beam_size if is_beam else best_of) or 1


def plan(window: Window, language: str, dims: ModelDims, tokenizer: Tokenizer) -> DecodePlan:
    """How to decode a window whose language is known."""
    options = window.options
    is_beam, group = search_key(options)
    initial, sot_index = _initial_tokens(options, language, dims, tokenizer)
    # openai-whisper's loop ends when `tokens.shape[-1] > n_ctx`: the last position's token is still sampled
    room = dims.n_text_ctx + 1 - len(initial)
    tick_s = WINDOW_SECONDS / dims.n_audio_ctx
    return DecodePlan(
        initial_tokens=initial,
        sot_index=sot_index,
        language=language,
        max_tokens=max(1, min(options.max_tokens or dims.n_text_ctx // 2, room)),
        temperature=options.temperature,
        group=group,
        is_beam=is_beam,
        max_candidates=round(group * (options.patience or 1.0)),
        length_penalty=options.length_penalty,
        suppressed=tokenizer.suppressed_tokens(options.suppress_tokens),
        suppress_blank=options.suppress_blank and not options.prefix,  # behind which the text may end
        timestamps=not options.without_timestamps,
        max_initial_timestamp=round(options.max_initial_timestamp_s / tick_s)
        if options.max_initial_timestamp_s
        else None,
        seed=_seed(window),
        loop_limit=options.loop_limit,
        prefix_length=len(options.prefix),
    )


def plan_all(
    windows: Sequence[Window], detections: Sequence[Detection | None], dims: ModelDims, tokenizer: Tokenizer
) -> list[DecodePlan]:
    """A plan per window; its language is the detected one, the option's, or English."""
    return [
        plan(window, detection.language if detection else window.options.language or "en", dims, tokenizer)
        for window, detection in zip(windows, detections, strict=True)
    ]


def _initial_tokens(
    options: DecodingOptions, language: str, dims: ModelDims, tokenizer: Tokenizer
) -> tuple[tuple[int, ...], int]:
    tokens = tokenizer.sot_sequence(language, options.task)
    if options.without_timestamps:
        tokens = (*tokens, tokenizer.no_timestamps, *options.prefix)
    room = dims.n_text_ctx // 2 - 1 - len(options.prefix)
    if not options.prompt or room <= 0:
        return tokens, 0
    previous = (tokenizer.sot_prev, *options.prompt[-room:])
    # openai-whisper looks for the first sot, even one that the prompt itself holds
    return previous + tokens, (previous + tokens).index(tokenizer.sot)


def _seed(window: Window) -> int:
    """A number made of the window itself: sampling it again, anywhere, gives the same tokens."""
    digest = hashlib.blake2b(window.samples.tobytes(), digest_size=8)
    options = window.options
    digest.update(repr((options.prompt, options.temperature, options.language, options.task)).encode())
    return int.from_bytes(digest.digest(), "big") >> 1
