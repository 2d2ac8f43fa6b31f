"""The tokenizer equals openai-whisper's, and needs neither torch nor whisper."""

import subprocess
import sys
from pathlib import Path

import pytest
import whisper.tokenizer as openai_tokenizer
from hypothesis import given, settings
from hypothesis import strategies as st

from asr.languages import LANGUAGE_CODES, LANGUAGES
from asr.text.tokenizer import Tokenizer, tokenizer_for

ROOT = Path(__file__).parents[3]
MODELS = [(True, 99), (True, 100), (False, 99)]
SPECIALS = [
    "eot",
    "sot",
    "sot_prev",
    "sot_lm",
    "no_speech",
    "no_timestamps",
    "timestamp_begin",
    "transcribe",
    "translate",
]
TEXTS = [
    "",
    " Hello, world! It's 3.14 o'clock (ish) -- isn't it?",
    " नमस्ते दुनिया, यह हिन्दी में एक वाक्य है।",
    " வணக்கம் உலகம், இது தமிழ்.",
    "你好,世界。今天天气很好!",
    "日本語のテキスト、カタカナも。",
    " สวัสดีชาวโลก",
    " ສະບາຍດີ",
    " Привет, мир!\n\tНовая строка",
    " 🎵🎶 music 😀 👩‍👩‍👧‍👦 é e\u0301",
    " مرحبا بالعالم",
    " \ufffd broken",
    " " * 7 + "x" + " " * 3,
]


def pair(
    model: tuple[bool, int], language: str | None = None
) -> tuple[Tokenizer, openai_tokenizer.Tokenizer]:
    multilingual, num_languages = model
    theirs = openai_tokenizer.get_tokenizer(multilingual, num_languages=num_languages, language=language)
    return tokenizer_for(multilingual, num_languages), theirs


@pytest.mark.parametrize("model", MODELS)
def test_special_tokens(model):
    ours, theirs = pair(model)
    assert {name: getattr(ours, name) for name in SPECIALS} == {
        name: getattr(theirs, name) for name in SPECIALS
    }
    assert ours.n_vocab == theirs.encoding.n_vocab
    assert ours.non_speech_tokens == theirs.non_speech_tokens
    assert dict(zip(ours.language_codes, ours.language_tokens, strict=True)) == dict(
        zip(theirs.all_language_codes, theirs.all_language_tokens, strict=True)
    )


def test_languages():
    assert LANGUAGES == openai_tokenizer.LANGUAGES
    assert list(LANGUAGES) == list(openai_tokenizer.LANGUAGES)
    assert LANGUAGE_CODES == openai_tokenizer.TO_LANGUAGE_CODE


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("text", TEXTS)
def test_encode_decode(model, text):
    ours, theirs = pair(model)
    tokens = theirs.encode(text)
    assert ours.encode(text) == tokens
    with_timestamps = [ours.timestamp_begin, *tokens, ours.timestamp_begin + 75, ours.eot]
    assert ours.decode(with_timestamps) == theirs.decode(with_timestamps)
    assert ours.decode_with_timestamps(with_timestamps) == theirs.decode_with_timestamps(with_timestamps)


@settings(max_examples=200, deadline=None)
@given(st.text(max_size=60))
def test_encode_any_text(text):
    ours, theirs = pair((True, 99))
    assert ours.encode(text) == theirs.encode(text)
    assert ours.decode(ours.encode(text)) == theirs.decode(theirs.encode(text))


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("task", ["transcribe", "translate", None])
@pytest.mark.parametrize("language", ["en", "hi", "jw", None])
def test_sot_sequence(model, language, task):
    multilingual, num_languages = model
    theirs = openai_tokenizer.get_tokenizer(
        multilingual, num_languages=num_languages, language=language, task=task
    )
    assert tokenizer_for(*model).sot_sequence(language, task) == tuple(theirs.sot_sequence)


def test_cantonese_only_where_the_model_knows_it():
    assert tokenizer_for(True, 100).language_token("yue") == 50358
    with pytest.raises(KeyError, match="yue"):
        tokenizer_for(True, 99).language_token("yue")


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("language", ["en", "hi", "zh", "ja", "th", "lo"])
@pytest.mark.parametrize("text", TEXTS[1:])
def test_words(model, language, text):
    ours, theirs = pair(model, language)
    tokens = [*ours.encode(text), ours.eot]
    words, word_tokens = ours.split_to_word_tokens(tokens, language)
    their_words, their_tokens = theirs.split_to_word_tokens(list(tokens))
    assert (words, word_tokens) == (their_words, their_tokens)
    assert [token for word in word_tokens for token in word] == tokens


@settings(max_examples=200, deadline=None)
@given(st.lists(st.integers(0, 50256), min_size=1, max_size=30), st.sampled_from(["en", "zh"]))
def test_words_of_any_tokens(tokens, language):
    """Random tokens are mostly broken UTF-8; openai-whisper runs off the end of some texts, ours does not."""
    ours, theirs = pair((True, 99), language)
    words, word_tokens = ours.split_to_word_tokens(tokens, language)
    try:
        expected = theirs.split_to_word_tokens(list(tokens))
    except IndexError:
        assert words
        return
    assert (words, word_tokens) == expected


@pytest.mark.parametrize(
    ("option", "openai_option"), [((-1,), "-1"), ((5, 7), [5, 7]), ((-1, 5, 6000), [-1, 5, 6000]), ((), None)]
)
def test_suppressed_tokens(option, openai_option):
    ours, theirs = pair((True, 99))
    task = openai_task(theirs, openai_option)
    expected = task._get_suppress_tokens() if openai_option else ()
    assert ours.suppressed_tokens(option) == expected


def openai_task(tokenizer, suppress_tokens):
    """openai-whisper's DecodingTask with only what its suppression rule reads."""
    from whisper.decoding import DecodingOptions, DecodingTask

    task = DecodingTask.__new__(DecodingTask)
    task.tokenizer = tokenizer
    task.options = DecodingOptions(suppress_tokens=suppress_tokens)
    return task


def test_import_needs_no_torch():
    script = (
        "import sys; import asr.text.tokenizer as t; t.tokenizer_for(True, 99).encode('x');"
        "print(sorted({'torch', 'whisper', 'ts'} & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", script],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert done.stdout.strip() == "[]"
