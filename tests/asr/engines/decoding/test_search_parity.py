"""In float32 the engine's tokens are upstream's, alone and among neighbours."""

from __future__ import annotations

from dataclasses import replace

import pytest

from asr.schema import Hypothesis
from tests.asr.checkpoints import random_audio
from tests.asr.engines import reference
from tests.asr.engines.reference import assert_equal, window

pytestmark = pytest.mark.slow

LONG_PROMPT = tuple(range(1_000, 1_400))  # cut to its last 223 tokens
CASES = {
    "greedy": {},
    "prompt": {"prompt": (50, 60, 70)},
    "long prompt": {"prompt": LONG_PROMPT},
    "no timestamps": {"without_timestamps": True},
    "no timestamps, prompt": {"without_timestamps": True, "prompt": (9, 8)},
    "prefix": {"without_timestamps": True, "prefix": (50, 60, 70), "suppress_blank": False},
    "suppress nothing": {"suppress_tokens": ()},
    "suppress some": {"suppress_tokens": (-1, 1_000, 1_001)},
    "suppress own list": {"suppress_tokens": (5, 6, 7)},
    "blank allowed": {"suppress_blank": False},
    "any first timestamp": {"max_initial_timestamp_s": None},
    "first timestamp 0.1": {"max_initial_timestamp_s": 0.1},
    "first timestamp 0": {"max_initial_timestamp_s": 0.0},
    "capped": {"max_tokens": 4},
    "capped at 1": {"max_tokens": 1},
    "beam": {"beam_size": 5},
    "beam, prompt": {"beam_size": 5, "prompt": LONG_PROMPT[:30]},
    "beam, patient": {"beam_size": 5, "patience": 2.0},
    "beam, impatient": {"beam_size": 5, "patience": 0.4},
    "beam, length penalty": {"beam_size": 3, "length_penalty": 0.7},
    "beam, capped": {"beam_size": 4, "max_tokens": 3},
    "beam, no timestamps": {"beam_size": 2, "without_timestamps": True},
    "length penalty": {"length_penalty": 0.3},
}


@pytest.mark.parametrize("case", CASES)
def test_alone(multilingual, case):
    for seed, seconds in ((1, 30), (2, 4.37)):
        piece = window(random_audio(seconds, seed), language="en", **CASES[case])
        [ours] = multilingual.engine.decode([piece])
        assert_equal(ours, reference.decode(multilingual.reference, piece))


@pytest.mark.parametrize("seed", range(10, 13))
def test_mixed_batch(multilingual, seed):
    mixed = [
        {"language": "en"},
        {"language": "hi", "prompt": LONG_PROMPT},
        {"language": "de", "task": "translate", "prompt": (5, 6)},
        {"language": "zh", "without_timestamps": True},
        {"language": "ta", "suppress_tokens": (5, 6, 7), "max_tokens": 9},
        {"language": "fr", "beam_size": 5, "prompt": (77,)},
        {"language": "en", "beam_size": 5, "task": "translate"},
        {"language": "es", "beam_size": 2, "length_penalty": 1.0},
    ]
    pieces = [
        window(random_audio(2 + 4 * index, seed * 10 + index), **options)
        for index, options in enumerate(mixed)
    ]
    for ours, piece in zip(multilingual.engine.decode(pieces), pieces, strict=True):
        assert_equal(ours, reference.decode(multilingual.reference, piece))


def test_more_windows_than_a_batch(multilingual):
    engine = multilingual.engine_with(max_batch_size=3)
    pieces = [window(random_audio(3, seed), language="en") for seed in range(7)]
    for ours, piece in zip(engine.decode(pieces), pieces, strict=True):
        assert_equal(ours, reference.decode(multilingual.reference, piece))


@pytest.mark.parametrize(
    "options", [{}, {"prompt": (50, 60)}, {"task": "translate"}, {"beam_size": 5, "max_tokens": 30}]
)
def test_english_only(english_only, options):
    for seed in (1, 2):
        piece = window(random_audio(12, seed), language="en", **options)
        [ours] = english_only.engine.decode([piece])
        assert_equal(ours, reference.decode(english_only.reference, piece))


def test_english_only_needs_no_language(english_only):
    piece = window(random_audio(3, 5))
    [ours] = english_only.engine.decode([piece])
    assert (ours.language, ours.language_probs) == ("en", ())
    [detected] = english_only.engine.decode([window(random_audio(3, 5), task="detect_language")])
    assert (detected.language, detected.language_probs) == ("en", (("en", 1.0),))


def test_large_v3(large_v3):
    pieces = [window(random_audio(20, seed), language=code) for seed, code in ((1, "yue"), (2, "en"))]
    for ours, piece in zip(large_v3.engine.decode(pieces), pieces, strict=True):
        assert_equal(ours, reference.decode(large_v3.reference, piece))


def test_odd_sizes(make_pair):
    """Head sizes that are no power of two, several layers."""
    pair = make_pair(seed=4, state=72, layers=3, heads=3)
    pieces = [window(random_audio(9, seed), language="en", prompt=(seed,)) for seed in range(3)]
    for ours, piece in zip(pair.engine.decode(pieces), pieces, strict=True):
        assert_equal(ours, reference.decode(pair.reference, piece))


@pytest.fixture(scope="module")
def endless(make_pair):
    """A model that hardly ever ends a sequence."""
    return make_pair(seed=0, end_weight=0.2)


@pytest.mark.parametrize("options", [{}, {"beam_size": 2}])
@pytest.mark.parametrize("prompt", [(), LONG_PROMPT])
def test_context_stop(endless, prompt, options):
    """Upstream's loop ends when the tokens outgrow the 448 positions, whatever the cap."""
    piece = window(random_audio(30, 3), language="en", prompt=prompt, max_tokens=600, **options)
    [ours] = endless.engine.decode([piece])
    assert_equal(ours, reference.decode(endless.reference, piece))
    assert ours.truncated
    assert len(ours.tokens) == 449 - 3 - (224 if prompt else 0)


def test_default_cap(endless):
    pieces = [window(random_audio(5, 3), language="en", max_tokens=cap) for cap in (None, 7)]
    long, short = endless.engine.decode(pieces)
    assert (len(long.tokens), long.truncated) == (224, True)
    assert (len(short.tokens), short.truncated) == (7, True)
    assert long.tokens[:7] == short.tokens


def test_ended_is_not_truncated(multilingual):
    piece = window(random_audio(4.37, 2), language="en")
    [ours] = multilingual.engine.decode([piece])
    cap = len(ours.tokens) + 1
    [at_cap] = multilingual.engine.decode([replace(piece, options=replace(piece.options, max_tokens=cap))])
    assert not ours.truncated
    assert (at_cap.tokens, at_cap.truncated) == (ours.tokens, False)


@pytest.mark.parametrize("options", [{}, {"beam_size": 3}])
def test_token_logprobs(multilingual, options):
    piece = window(random_audio(6, 8), language="en", token_logprobs=True, max_tokens=6, **options)
    [ours] = multilingual.engine.decode([piece])
    assert len(ours.token_logprobs) == len(ours.tokens)
    end = ours.avg_logprob * (len(ours.tokens) + 1) - sum(ours.token_logprobs)
    assert end <= 1e-4  # what is left is the end token's
    assert not ours.truncated or end == pytest.approx(0, abs=1e-4)


def test_language_detection(multilingual):
    pieces = [
        window(random_audio(6, seed), **options) for seed, options in enumerate(({}, {"language": "hi"}, {}))
    ]
    first, given, third = multilingual.engine.decode(pieces)
    for ours, piece in ((first, pieces[0]), (third, pieces[2])):
        mel = reference.segment(piece.samples, piece.num_frames, 80)
        _, theirs = multilingual.reference.detect_language(mel)
        ranked = sorted(theirs.items(), key=lambda pair: -pair[1])[:5]
        assert [code for code, _ in ours.language_probs] == [code for code, _ in ranked]
        assert [prob for _, prob in ours.language_probs] == pytest.approx([p for _, p in ranked], abs=1e-5)
        assert_equal(ours, reference.decode(multilingual.reference, piece))
    assert (given.language, given.language_probs) == ("hi", ())


def test_language_candidates(multilingual):
    audio = random_audio(6, 1)
    free, limited, alone = multilingual.engine.decode(
        [
            window(audio, task="detect_language"),
            window(audio, task="detect_language", languages=("ta", "hi")),
            window(audio, task="detect_language", languages=("ta",), language="en"),
        ]
    )
    assert (free.tokens, len(free.language_probs)) == ((), 5)
    assert {code for code, _ in limited.language_probs} == {"ta", "hi"}
    assert sum(prob for _, prob in limited.language_probs) == pytest.approx(1)
    assert (alone.language, alone.language_probs) == ("ta", (("ta", 1.0),))


def test_sampling_is_a_function_of_the_window(multilingual):
    def sampled(temperature: float, seed: int = 7):
        return window(random_audio(5, seed), language="en", temperature=temperature, max_tokens=30)

    warm, greedy, hot = sampled(0.4), sampled(0.0), sampled(1.0)
    [alone] = multilingual.engine.decode([warm])
    together = multilingual.engine.decode([hot, greedy, warm, sampled(0.4, seed=8)])
    assert together[2] == replace(
        alone,
        seconds=together[2].seconds,
        avg_logprob=together[2].avg_logprob,
        no_speech_prob=together[2].no_speech_prob,
    )
    assert_equal(together[1], reference.decode(multilingual.reference, greedy))
    assert len({outcome.tokens for outcome in together}) == 4


def test_sampling_follows_the_distribution(multilingual):
    """With so low a temperature that the best token always wins, sampling is greedy search."""
    piece = window(random_audio(5, 7), language="en", max_tokens=30)
    cold = replace(piece, options=replace(piece.options, temperature=1e-4))
    greedy, sampled = multilingual.engine.decode([piece, cold])
    assert sampled.tokens == greedy.tokens
    assert sampled.avg_logprob == pytest.approx(greedy.avg_logprob, abs=1e-4)


def test_best_of_takes_the_best(multilingual):
    """The best of more samples, the first of them the same, is at least as good."""

    def best(count: int | None) -> Hypothesis:
        piece = window(random_audio(5, 7), language="en", temperature=0.8, best_of=count, max_tokens=12)
        [found] = multilingual.engine.decode([piece])
        return found

    def score(found: Hypothesis) -> float:
        return found.avg_logprob * (len(found.tokens) + 1) / len(found.tokens)

    one, five = best(1), best(5)
    assert best(5).tokens == five.tokens
    assert score(five) > score(one)
