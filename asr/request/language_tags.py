"""A language as other systems write it → Whisper's code.

It reads ISO 639-1, 639-2 (both of its codes) and 639-3, withdrawn codes, BCP 47 tags, POSIX locales and
English names. A member of a macrolanguage counts as it if it bears its name (Egyptian Arabic, Halh Mongolian)
and Whisper does not know the member itself (as it knows Cantonese and Nynorsk).
"""

from __future__ import annotations

import re
from collections.abc import Collection

from asr.languages import LANGUAGE_CODES, LANGUAGES

UNDETERMINED = ("", "auto", "und")  # the language is to be detected
LANGUAGES_OF_FEW_MODELS = {"yue": "zh"}  # large-v3 alone tells Cantonese from Chinese
ISO_CODES = {"jw": "jv"}  # Whisper's tokens keep a code that ISO withdrew in 2001

# Whisper's code → the other codes that mean it
OTHER_CODES = {
    "en": "eng",
    "zh": "zho chi cmn cdo cjy cnp cpx csp czh czo gan hak hnm hsn luh lzh mnp nan sjc wuu",
    "de": "deu ger",
    "es": "spa",
    "ru": "rus",
    "ko": "kor",
    "fr": "fra fre",
    "ja": "jpn",
    "pt": "por",
    "tr": "tur",
    "pl": "pol",
    "ca": "cat",
    "nl": "nld dut vls",
    "ar": "ara arb aao abh abv acm acq acw acx acy adf aeb aec afb ajp apc apd arq ars ary arz auz avl ayh "
    "ayl ayn ayp bbz shu ssh",
    "sv": "swe",
    "it": "ita",
    "id": "ind in",
    "hi": "hin",
    "fi": "fin",
    "vi": "vie",
    "he": "heb iw",
    "uk": "ukr",
    "el": "ell gre",
    "ms": "msa may zsm zlm btj bve bvu coa jax max meo mfa mqg msi pse vkt xmm zmi",
    "cs": "ces cze",
    "ro": "ron rum mo mol",
    "da": "dan",
    "hu": "hun",
    "ta": "tam",
    "no": "nor nb nob",
    "th": "tha",
    "ur": "urd",
    "hr": "hrv scr",
    "bg": "bul",
    "lt": "lit",
    "la": "lat",
    "mi": "mri mao",
    "ml": "mal",
    "cy": "cym wel",
    "sk": "slk slo",
    "te": "tel",
    "fa": "fas per pes prs",
    "lv": "lav lvs ltg",
    "bn": "ben",
    "sr": "srp scc sh hbs cnr",  # as Unicode's CLDR has it for Serbo-Croatian and Montenegrin
    "az": "aze azj azb",
    "sl": "slv",
    "kn": "kan",
    "et": "est ekk vro",
    "mk": "mkd mac",
    "br": "bre",
    "eu": "eus baq",
    "is": "isl ice",
    "hy": "hye arm hyw",
    "ne": "nep npi dty",
    "mn": "mon khk mvf",
    "bs": "bos",
    "kk": "kaz",
    "sq": "sqi alb aae aat aln als",
    "sw": "swa swh swc",
    "gl": "glg",
    "mr": "mar",
    "pa": "pan pnb",
    "si": "sin",
    "km": "khm",
    "sn": "sna",
    "yo": "yor",
    "so": "som",
    "af": "afr",
    "oc": "oci",
    "ka": "kat geo",
    "be": "bel",
    "tg": "tgk",
    "sd": "snd",
    "gu": "guj prp",
    "am": "amh",
    "yi": "yid ji ydd yih",
    "lo": "lao",
    "uz": "uzb uzn uzs",
    "fo": "fao",
    "ht": "hat",
    "ps": "pus pbt pbu pst",
    "tk": "tuk",
    "nn": "nno",
    "mt": "mlt",
    "sa": "san cls vsn",
    "lb": "ltz",
    "my": "mya bur",
    "bo": "bod tib",
    "tl": "tgl fil",
    "mg": "mlg plt bhr bjq bmm bzc msh skg tdx tkg txy xmv xmw",
    "as": "asm",
    "tt": "tat",
    "ln": "lin",
    "ha": "hau",
    "ba": "bak",
    "jw": "jv jav",
    "su": "sun",
}

# English names beside Whisper's own: ISO's, Ethnologue's and those of programs' menus
OTHER_NAMES = {
    "american english": "en",
    "azeri": "az",
    "bahasa indonesia": "id",
    "bahasa melayu": "ms",
    "bangla": "bn",
    "bokmal": "no",
    "brazilian portuguese": "pt",
    "british english": "en",
    "cambodian": "km",
    "central khmer": "km",
    "dari": "fa",
    "egyptian arabic": "ar",
    "european portuguese": "pt",
    "faeroese": "fo",
    "farsi": "fa",
    "filipino": "tl",
    "iranian persian": "fa",
    "latin american spanish": "es",
    "mandarin chinese": "zh",
    "modern greek": "el",
    "modern standard arabic": "ar",
    "montenegrin": "sr",
    "norwegian bokmal": "no",
    "norwegian nynorsk": "nn",
    "pilipino": "tl",
    "serbo-croatian": "sr",
    "simplified chinese": "zh",
    "slovene": "sl",
    "standard arabic": "ar",
    "standard malay": "ms",
    "traditional chinese": "zh",
    "western panjabi": "pa",
    "western punjabi": "pa",
    "yue chinese": "yue",
}

# a BCP 47 tag, or a POSIX locale: pt-BR, pt_BR.UTF-8, sr_RS@latin
TAG = re.compile(r"[a-z]+([-_][a-z0-9]{1,8})*(\.[a-z0-9-]+)?(@[a-z]+)?")
# tags whose second part names another language than the first
EXTENDED_TAGS = {"zh-yue": "yue", "no-nyn": "nn", "i-lux": "lb", "i-hak": "zh"}

_CODES = (
    {code: code for code in LANGUAGES}
    | {other: code for code, others in OTHER_CODES.items() for other in others.split()}
    | EXTENDED_TAGS
)
_NAMES = LANGUAGE_CODES | OTHER_NAMES
_ACCENTS = str.maketrans("åáéíóúüö", "aaeiouuo")


def language_of(text: str, known: Collection[str] | None = None) -> str | None:
    """Whisper's code of a tag or an English name; None if Whisper does not know the language.

    `known`: the model's codes, None for all.
    """
    key = text.strip().lower()
    code = _language_named(key) or _language_tagged(key)
    if known is not None and code not in known:
        code = LANGUAGES_OF_FEW_MODELS.get(code or "", code)
    return code


def iso_code(code: str) -> str:
    """The ISO 639 code of one of Whisper's languages: 639-1, or 639-3 where it has none."""
    return ISO_CODES.get(code, code)


def _language_tagged(key: str) -> str | None:
    """By the primary subtag alone, script and region may be any."""
    if not TAG.fullmatch(key):
        return None
    primary, *others = re.split("[-_.@]", key)
    extended = f"{primary}-{others[0]}" if others else ""
    return _CODES.get(extended) or _CODES.get(primary) or LANGUAGE_CODES.get(primary)


def _language_named(key: str) -> str | None:
    """By its English name, also inverted, explained or one of several: "Greek, Modern (1453-)",
    "Spanish; Castilian"."""
    plain = re.sub(r"\([^()]*\)", "", key.translate(_ACCENTS))
    for name in plain.split(";"):
        noun, _, adjective = name.partition(",")
        words = " ".join(f"{adjective} {noun}".split())
        if words in _NAMES:
            return _NAMES[words]
    return None
