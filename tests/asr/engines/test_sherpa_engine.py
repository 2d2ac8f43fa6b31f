"""The families beside Whisper behind the Engine protocol, by models of a few kB."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from asr.config import ConfigError, EngineConfig
from asr.constants import HOP_LENGTH
from asr.engines import load_engine
from asr.engines.loading import LoadableEngine
from asr.errors import AsrError, InvalidOption
from asr.schema import DecodingOptions, Hypothesis, Window
from asr.wire.messages import decode_hypothesis, encode_hypothesis
from tests.asr.attention_folders import write_moonshine, write_paraformer
from tests.asr.sherpa_folders import CTC, OFFLINE, SUBSAMPLING, said, write_ctc, write_transducer

pytest.importorskip("sherpa_onnx")

LENGTHS = (100, 730, 260, 100)  # frames


@pytest.fixture(scope="module")
def ctc(tmp_path_factory: pytest.TempPathFactory) -> LoadableEngine:
    return _loaded(write_ctc(tmp_path_factory.mktemp("families") / "toy-ctc"))


@pytest.fixture(scope="module")
def offline(tmp_path_factory: pytest.TempPathFactory) -> LoadableEngine:
    return _loaded(write_transducer(tmp_path_factory.mktemp("families") / "toy-offline", encoder=OFFLINE))


@pytest.fixture(scope="module")
def streaming(tmp_path_factory: pytest.TempPathFactory) -> LoadableEngine:
    return _loaded(write_transducer(tmp_path_factory.mktemp("families") / "toy-live"))


def _loaded(folder: Path, **settings: object) -> LoadableEngine:
    return load_engine(EngineConfig(model=str(folder), threads=1, **settings))  # type: ignore[arg-type]


def _window(num_frames: int, **options: object) -> Window:
    samples = np.random.default_rng(num_frames).integers(-3000, 3000, num_frames * HOP_LENGTH)
    return Window(samples.astype(np.int16), num_frames, DecodingOptions(**options))  # type: ignore[arg-type]


def _texts(outcomes: Sequence[Hypothesis | AsrError]) -> list[str]:
    assert all(isinstance(outcome, Hypothesis) for outcome in outcomes), outcomes
    hypotheses = [outcome for outcome in outcomes if isinstance(outcome, Hypothesis)]
    return ["".join(piece.text for piece in each.pieces) for each in hypotheses]


def test_a_paraformer_joins_its_tokens_to_words_and_times_them(tmp_path: Path) -> None:
    engine = _loaded(write_paraformer(tmp_path / "times"))
    outcomes = engine.decode([_window(100), _window(260)])
    assert _texts(outcomes) == [" thank you", " thank you 你好 thank you"]
    [outcome, _] = outcomes
    assert isinstance(outcome, Hypothesis)
    assert [(piece.text, piece.start_ms) for piece in outcome.pieces] == [
        (" th", 0), ("ank", 300), (" you", 600),
    ]  # fmt: skip


def test_a_model_that_tells_no_times_says_so(tmp_path: Path) -> None:
    folders = (write_paraformer(tmp_path / "bare", has_times=False), write_moonshine(tmp_path / "moonshine"))
    texts = (" thank you 你好 thank you", " ek do tin ek do tin ek do tin")
    for folder, text in zip(folders, texts, strict=True):
        engine = _loaded(folder)
        assert not engine.spec.has_word_times
        [outcome, _] = engine.decode([_window(260), _window(100)])
        assert _texts([outcome]) == [text]


@pytest.mark.parametrize("name", ["ctc", "offline"])
def test_windows_of_any_length_share_a_batch_and_keep_their_texts(
    name: str, request: pytest.FixtureRequest
) -> None:
    engine: LoadableEngine = request.getfixturevalue(name)
    windows = [_window(length) for length in LENGTHS]
    assert _texts(engine.decode(windows)) == [f" {said(length // SUBSAMPLING)}" for length in LENGTHS]


def test_tokens_have_the_times_at_which_they_were_found(ctc: LoadableEngine) -> None:
    [outcome] = ctc.decode([_window(100)])
    assert isinstance(outcome, Hypothesis)
    assert [piece.start_ms for piece in outcome.pieces] == [0, 200, 400, 600, 800]


def test_a_ctc_model_tells_no_probability_and_a_transducer_its_own(
    ctc: LoadableEngine, offline: LoadableEngine
) -> None:
    [of_ctc], [of_transducer] = ctc.decode([_window(100)]), offline.decode([_window(100)])
    assert isinstance(of_ctc, Hypothesis) and isinstance(of_transducer, Hypothesis)
    assert math.isnan(of_ctc.avg_logprob) and math.isnan(of_ctc.no_speech_prob)
    assert of_transducer.avg_logprob == pytest.approx(0.0, abs=1e-3)


def test_a_hypothesis_in_hindi_travels_over_the_wire(tmp_path: Path) -> None:
    engine = _loaded(write_ctc(tmp_path / "hindi", words=("▁नमस्ते", "▁दुनिया", "र")), languages=("hi",))
    [outcome] = engine.decode([_window(100)])
    assert isinstance(outcome, Hypothesis) and outcome.language == "hi"
    assert _texts([outcome]) == [" नमस्ते दुनियार नमस्ते दुनिया"]
    back = decode_hypothesis(encode_hypothesis(outcome))
    assert back.pieces == outcome.pieces and math.isnan(back.avg_logprob)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"task": "translate"}, "task is 'translate', not with this model: it writes down what is said"),
        ({"temperature": 0.4}, "temperature is 0.4, not with this model: it samples nothing: 0"),
        ({"prompt": (7,)}, "prompt is [7], not with this model: it takes no text before the audio"),
        ({"beam_size": 5}, "beam_size is 5, not with this model: it searches greedily: 1"),
        ({"hotwords": ("नमस्ते",)}, 'hotwords is ["नमस्ते"], not with this model: that takes search_paths'),
        ({"is_open": True}, "is_open is true, not with this model: it hears whole windows alone"),
    ],
)
def test_a_window_that_asks_for_too_much_fails_alone(
    ctc: LoadableEngine, options: dict[str, object], message: str
) -> None:
    refused, good = ctc.decode([_window(100, **options), _window(100)])
    assert isinstance(refused, InvalidOption) and refused.message.startswith(message)
    assert _texts([good]) == [f" {said(25)}"]


def test_an_open_turn_says_at_every_length_what_it_says_from_its_start(streaming: LoadableEngine) -> None:
    whole = _window(900, is_open=True)
    cuts = (120, 300, 301, 640, 900)
    step_by_step = [streaming.decode([_part(whole, cut)])[0] for cut in cuts]
    at_once = [_fresh(streaming, _part(whole, cut)) for cut in cuts]
    assert _texts(step_by_step) == _texts(at_once)
    assert len(_texts(step_by_step)[-1]) > len(_texts(step_by_step)[0]) > 0


def test_a_turn_that_was_never_heard_before_says_the_same(streaming: LoadableEngine) -> None:
    """Its worker died, and another one is shown the whole turn."""
    whole = _window(640, is_open=True)
    for cut in (200, 400):
        streaming.decode([_part(whole, cut)])
    [here] = streaming.decode([whole])
    assert _texts([here]) == _texts([_fresh(streaming, whole)])


def test_the_librarys_rules_end_a_turn_by_setting(streaming: LoadableEngine, tmp_path: Path) -> None:
    """One of them: 20 s."""
    ending = _loaded(write_transducer(tmp_path / "live"), endpoints="model")
    assert ending.spec.ends_turns and not streaming.spec.ends_turns
    short, long = _window(1_000, is_open=True), _window(2_200, is_open=True)
    for engine, expected in ((ending, [False, True]), (streaming, [False, False])):
        outcomes = engine.decode([short, long])
        assert [isinstance(each, Hypothesis) and each.is_endpoint for each in outcomes] == expected


def _part(whole: Window, num_frames: int) -> Window:
    return replace(whole, samples=whole.samples[: num_frames * HOP_LENGTH], num_frames=num_frames)


def _fresh(engine: LoadableEngine, window: Window) -> Hypothesis | AsrError:
    """What an engine answers that has heard none of it."""
    engine._model._heard._kept.clear()  # type: ignore[attr-defined]
    return engine.decode([window])[0]


def test_a_whole_window_of_a_streaming_model_ends_behind_its_last_sound(streaming: LoadableEngine) -> None:
    [text] = _texts(streaming.decode([_window(320)]))
    assert text.startswith(f" {said(320 // SUBSAMPLING)}")


def test_beams_and_hotwords_are_a_setting(tmp_path: Path) -> None:
    folder = write_transducer(tmp_path / "beams", encoder=OFFLINE)
    (folder / "bpe.vocab").write_text("▁ek\t-1\n▁do\t-2\n▁tin\t-3\n▁char\t-4\n<unk>\t0\n<s>\t0\n</s>\t0\n")
    engine = _loaded(folder, search_paths=4)
    assert engine.spec.has_hotwords and engine.spec.search_paths == 4
    window = _window(100, beam_size=4, hotwords=("ek do",))
    assert _texts(engine.decode([window])) == [f" {said(25)}"]
    [refused] = engine.decode([_window(100, hotwords=("ek/do :2",))])
    assert isinstance(refused, InvalidOption) and "holds none of / : # @" in refused.message


def test_a_model_that_ends_the_librarys_process_is_refused_in_one_line(tmp_path: Path) -> None:
    """A joiner of another width passes every check of files; the library breaks on it as it decodes."""
    folder = write_transducer(tmp_path / "broken", encoder=OFFLINE)
    write_transducer(tmp_path / "other", words=("▁one", "▁two"), encoder=OFFLINE)
    (folder / "encoder.onnx").write_bytes((tmp_path / "other" / "encoder.onnx").read_bytes())
    with pytest.raises(ConfigError) as refused:
        _loaded(folder)
    message = str(refused.value)
    assert message.startswith(f"sherpa-onnx cannot use {folder}: ") and "\n" not in message


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"device": "cuda:0"}, "engine.device is 'cuda:0', must be auto or cpu"),
        ({"search_paths": 4}, "engine.search_paths is 4, must be 0"),
        ({"adapter": "lora"}, "only Whisper takes adapters"),
    ],
)
def test_a_setting_that_such_a_model_lacks_is_refused(
    tmp_path: Path, settings: dict[str, object], message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        _loaded(write_ctc(tmp_path / "ctc"), **settings)


def test_whispers_backend_does_not_count(tmp_path: Path) -> None:
    assert _loaded(write_ctc(tmp_path / "ctc"), backend="torch").spec.family == "ctc"
    assert _loaded(write_ctc(tmp_path / "named", metadata=CTC), family="ctc").spec.family == "ctc"
