"""What texts are put through before they are compared, by the language of the reference."""

from __future__ import annotations

from functools import cache

from whisper_client.scoring import Normaliser
from whisper_client.scoring import normaliser_for as plain_normaliser_for


def normaliser_for(language: str) -> Normaliser:
    """openai-whisper's own for English, as published figures use it; else NFC with every mark kept.

    openai-whisper's normaliser for other languages drops combining marks and so hides Indic vowel errors.
    """
    return _english() if language == "en" else plain_normaliser_for(language)


@cache
def _english() -> Normaliser:
    from whisper.normalizers import EnglishTextNormalizer

    normaliser: Normaliser = EnglishTextNormalizer()
    return normaliser
