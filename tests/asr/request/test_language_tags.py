"""Languages as people's systems write them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from asr.languages import LANGUAGE_CODES, LANGUAGES
from asr.request.language_tags import OTHER_CODES, iso_code, language_of
from asr.request.values import Language

ISO_CODES = Path("/usr/share/iso-codes/json")  # Debian's package iso-codes

MEANINGS = {
    "en": "EN eng en-US en_GB.UTF-8 english English",
    "no": "no nor nb nob nb-NO no-bok norwegian Norwegian|Bokmål",
    "nn": "nn nno nn-NO no-nyn nynorsk Norwegian|Nynorsk",
    "he": "he heb iw iw-IL hebrew",
    "id": "id ind in in_ID indonesian Bahasa|Indonesia",
    "yi": "yi yid ji ydd yiddish",
    "ro": "ro ron rum mo mol ro-MD moldavian Romanian;|Moldavian;|Moldovan",
    "sr": "sr srp scc sh sh-YU cnr sr-Latn-RS sr_RS@latin serbian",
    "hr": "hr hrv scr",
    "zh": "zh zho chi cmn cmn-Hans zh-Hant-TW zh_CN zh-cmn-Hans-CN zh-min-nan nan-TW mandarin "
    "Simplified|Chinese Chinese|(Taiwan)",
    "yue": "yue yue-Hant-HK zh-yue cantonese",
    "pt": "pt por pt_BR pt-PT portuguese Portuguese|(Brazil)",
    "es": "es spa es-419 castilian Spanish;|Castilian",
    "ar": "ar ara arb ary arz ar-EG apc-LB Standard|Arabic Arabic,|Egyptian",
    "fa": "fa fas per pes prs fa-IR Farsi",
    "sw": "sw swa swh sw-KE",
    "ms": "ms msa may zsm ms-MY",
    "et": "et est ekk",
    "lv": "lv lav lvs",
    "mn": "mn mon khk mn-Cyrl-MN",
    "mg": "mg mlg plt",
    "az": "az aze azj az-Latn-AZ Azeri",
    "uz": "uz uzb uzn",
    "ne": "ne nep npi",
    "sq": "sq sqi alb als",
    "ps": "ps pus pbt pashto pushto",
    "el": "el ell gre Greek,|Modern|(1453-)",
    "jw": "jw jv jav jv-ID javanese",
    "tl": "tl tgl fil fil-PH filipino",
    "haw": "haw haw-US hawaiian",
    "my": "my mya bur burmese myanmar",
    "hi": "hi hin hin-IND hi-Latn",
}


@pytest.mark.parametrize(
    ("text", "code"),
    [(text.replace("|", " "), code) for code, texts in MEANINGS.items() for text in texts.split()],
)
def test_what_a_tag_means(text: str, code: str) -> None:
    assert language_of(text) == code
    assert Language().read("language", f" {text.upper()} ") == code


@pytest.mark.parametrize("text", ["", "auto", "AUTO", " ", "und"])
def test_a_language_to_be_found(text: str) -> None:
    assert Language().read("language", text) is None


OTHERS = ["ory", "or", "tlh", "ku", "gsw", "pga", "min", "mul", "zxx", "xx", "e", "12", "root", "C.UTF-8"]
OTHERS += ["../en", "-en", "en-", "kl-en", "en us", "english language", "mt. iriga agta"]
OTHERS += ["en\x00fr", "\u202een", "e" * 5000]


@pytest.mark.parametrize("text", OTHERS)
def test_what_means_no_language_of_whispers(text: str) -> None:
    assert language_of(text) is None


def test_cantonese_is_chinese_to_most_models() -> None:
    assert language_of("zh-yue", known=("en", "zh")) == "zh"
    assert language_of("zh-yue", known=("en", "zh", "yue")) == "yue"
    assert language_of("hi", known=("en", "zh")) == "hi"  # for the caller to refuse


def test_every_code_means_one_language() -> None:
    codes = [*LANGUAGES, *(code for others in OTHER_CODES.values() for code in others.split())]
    assert len(codes) == len(set(codes))
    assert set(OTHER_CODES) <= set(LANGUAGES)
    assert {iso_code(code) for code in ("jw", "en", "haw")} == {"jv", "en", "haw"}


@pytest.mark.parametrize("name", LANGUAGE_CODES)
def test_whispers_own_names(name: str) -> None:
    assert language_of(name) == LANGUAGE_CODES[name]


def test_all_codes_and_names_that_iso_has_of_whispers_languages() -> None:
    """Each language under all its codes; those with a code of ISO 639-1 under their names too."""
    if not ISO_CODES.exists():
        pytest.skip("needs Debian's package iso-codes")
    entries: list[dict[str, Any]] = []
    for part in ("639-2", "639-3"):
        entries += json.loads((ISO_CODES / f"iso_{part}.json").read_text(encoding="utf-8"))[part]
    seen = set()
    for entry in entries:
        codes = {entry[key] for key in ("alpha_2", "alpha_3", "bibliographic") if key in entry}
        found = {language_of(code) for code in codes}
        assert len(found) == 1, codes
        if found != {None} and "alpha_2" in entry:
            names = {entry[key] for key in ("name", "inverted_name", "common_name") if key in entry}
            assert {language_of(name) for name in names} == found, names
        seen |= found
    assert seen - {None} == set(LANGUAGES)
