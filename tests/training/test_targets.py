"""Windows and what the decoder learns of them, on made-up utterances."""

from __future__ import annotations

import random

import numpy as np

from training.corpus import Utterance
from training.speech import SAMPLE_RATE
from training.targets import IGNORED, target, timed
from training.vocabulary_rows import compact_ids, tokenizer, used_tokens
from training.windows import Placed, Window, add, compose, silent_window

SPECIAL = tokenizer().special_tokens


def made_up(language: str = "en") -> Utterance:
    samples = np.full(2 * SAMPLE_RATE, 0.1, np.float32)
    return Utterance(samples, language, "test", (("two", 0.1, 0.5), ("blue", 0.5, 1.1), ("fish", 1.1, 1.9)))


class MadeUpCorpus:
    def __init__(self) -> None:
        first = {"en": "two", "hi": "घर"}
        self.rows = {name: [("0", {"words": [[word, 0.1, 0.5]]})] for name, word in first.items()}

    def draw(self, rng: random.Random, language: str) -> Utterance:
        return made_up(language)


def window(*placed: Placed, cut_at: float | None = None) -> Window:
    return Window(np.zeros(30 * SAMPLE_RATE, np.float32), 30.0, "en", list(placed), cut_at)


def spelled(tokens: list[tuple[int, float, float]]) -> str:
    return tokenizer().decode_with_timestamps([token for token, _, _ in tokens])


def test_timestamps_frame_each_utterance_and_the_first_is_at_most_one_second() -> None:
    first = Placed([("two", 3.0, 3.5), ("fish", 3.5, 4.0)], "en")
    second = Placed([("blue", 5.0, 5.5)], "en")
    assert spelled(timed(window(first, second))) == "<|1.00|> Two fish.<|4.00|><|5.00|> Blue.<|5.50|>"


def test_an_utterance_cut_by_the_end_is_only_announced() -> None:
    whole = Placed([("two", 0.2, 0.6)], "en")
    part = Placed([("blue", 29.0, 29.5)], "en", is_end=False)
    assert spelled(timed(window(whole, part, cut_at=28.9))) == "<|0.20|> Two.<|0.60|><|28.90|>"


def test_silence_ends_after_the_first_timestamp() -> None:
    assert spelled(timed(window())) == "<|0.00|>"


def test_words_outside_the_window_are_dropped() -> None:
    late = window()
    placed = add(late, made_up(), 28.5, 1.0)
    assert [word for word, _, _ in placed.words] == ["two", "blue"]
    assert placed.is_start
    assert not placed.is_end
    early = add(window(), made_up(), -0.3, 1.0)
    assert [word for word, _, _ in early.words] == ["blue", "fish"]
    assert not early.is_start


def test_labels_follow_inputs_and_nothing_is_learnt_of_the_prompt() -> None:
    rng, corpus = random.Random(0), MadeUpCorpus()
    for _ in range(100):
        made = compose(rng, corpus, 8.0, augment=0.0)
        learnt = target(rng, corpus, made, timestamps=0.5, prompts=0.5)
        assert len(learnt.inputs) == len(learnt.labels) == len(learnt.heard) < 448
        start = learnt.inputs.index(compact_ids()[SPECIAL["<|startoftranscript|>"]])
        assert all(label == IGNORED for label in learnt.labels[:start])
        assert learnt.labels[start] == compact_ids()[SPECIAL[f"<|{made.language}|>"]]
        pairs = zip(learnt.labels[:-1], learnt.inputs[1:], strict=True)
        assert all(label in (IGNORED, following) for label, following in list(pairs)[start + 1 :])


def test_silence_is_labelled_no_speech() -> None:
    rng, corpus = random.Random(0), MadeUpCorpus()
    learnt = target(rng, corpus, silent_window(rng, 4.0), timestamps=0.0, prompts=0.0)
    ids = used_tokens()
    assert [ids[label] for label in learnt.labels if label != IGNORED] == [
        SPECIAL["<|nospeech|>"],
        tokenizer().eot,
    ]


def test_letters_are_heard_in_order_within_their_word() -> None:
    heard = Placed([("kitchen", 1.0, 2.0)], "en").heard()
    times = [time for _, start, end in heard for time in (start, end)]
    assert times == sorted(times)
    assert times[0] == 1.0
    assert times[-1] > 2.0  # the full stop is heard behind the word
