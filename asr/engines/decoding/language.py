"""Which language a window is in (whisper/decoding.py, detect_language)."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from asr.engines.decoding.kv_cache import CrossCache
from asr.engines.decoding.network import StepDecoder
from asr.engines.results import TOP_LANGUAGES, Detection
from asr.text.tokenizer import Tokenizer


def detect_languages(
    decoder: StepDecoder, tokenizer: Tokenizer, cross: CrossCache, candidates: Sequence[tuple[str, ...]]
) -> list[Detection]:
    """One detection per window of `cross`, in one forward pass with the sot token alone.

    candidates: the languages each window may be in; empty for all of the model's.
    """
    device = cross.keys.device
    tokens = torch.full((len(candidates), 1), tokenizer.sot, device=device)
    logits = decoder.prompt_logits(tokens, torch.zeros_like(tokens), cross)[:, 0]
    no_speech = (logits[:, tokenizer.no_speech] - logits.logsumexp(1)).exp().tolist()
    languages = logits[:, list(tokenizer.language_tokens)].cpu()  # [windows, languages]
    detections = []
    for row, allowed, silence in zip(languages, candidates, no_speech, strict=True):
        codes = allowed or tokenizer.language_codes
        index = [tokenizer.language_codes.index(code) for code in codes]
        probs = row[index].softmax(0).tolist()
        ranked = sorted(zip(codes, probs, strict=True), key=lambda pair: pair[1], reverse=True)
        detections.append(Detection(ranked[0][0], tuple(ranked[:TOP_LANGUAGES]), silence))
    return detections
