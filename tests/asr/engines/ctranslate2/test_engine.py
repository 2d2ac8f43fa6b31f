"""The ctranslate2 backend against the torch engine in float32, on the same random weights."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
import whisper

from asr.audio import media
from asr.audio.prepare import prepared_from
from asr.config import ConfigError, EngineConfig, Limits
from asr.engines.ctranslate2 import conversion, search
from asr.engines.ctranslate2.ctranslate2_engine import CTranslate2Engine
from asr.engines.ctranslate2.search import call_of
from asr.engines.decoding.plan import plan
from asr.engines.loading import load_engine
from asr.errors import InvalidOption
from asr.request.options import RequestOptions
from asr.schema import Audio, DecodingOptions, Hypothesis, MediaSource, Window
from asr.sessions import open_session
from asr.sessions.driver import drive
from tests.asr import checkpoints
from tests.asr.engines import reference
from tests.asr.engines.conftest import Pair

pytestmark = pytest.mark.slow

ctranslate2 = pytest.importorskip("ctranslate2", reason="an extra: requirements-ctranslate2.txt")

ROOT = Path(__file__).resolve().parents[4]
LOGPROB_TOLERANCE = 2e-3  # summed over up to 224 tokens in another order of operations


def make_engine(path: Path, **config: object) -> CTranslate2Engine:
    settings = {"precision": "float32", "device": "cpu", "threads": 1, "backend": "ctranslate2"} | config
    engine = CTranslate2Engine(EngineConfig(model=str(path), **settings))
    engine.load()
    return engine


@pytest.fixture(scope="session")
def float32(multilingual: Pair) -> CTranslate2Engine:
    return make_engine(multilingual.path)


def windows(count: int, **options: object) -> list[Window]:
    """Windows of 0.4 s to 30 s."""
    lengths = np.linspace(0.4, 30, count) if count > 1 else [12.0]
    sounds = [checkpoints.random_audio(seconds, seed) for seed, seconds in enumerate(lengths)]
    return [reference.window(sound, **{"language": "en", **options}) for sound in sounds]


def assert_alike(ours: object, theirs: object) -> None:
    assert isinstance(ours, Hypothesis), ours
    assert isinstance(theirs, Hypothesis), theirs
    assert ours.tokens == theirs.tokens
    assert ours.avg_logprob == pytest.approx(theirs.avg_logprob, abs=LOGPROB_TOLERANCE)
    assert ours.no_speech_prob == pytest.approx(theirs.no_speech_prob, abs=1e-4)
    for field in ("language", "temperature", "truncated", "looped"):
        assert getattr(ours, field) == getattr(theirs, field), field


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"without_timestamps": True},
        {"suppress_tokens": (), "suppress_blank": False},
        {"suppress_tokens": (-1, 1000, 1001), "max_initial_timestamp_s": None},
        {"max_tokens": 7},
        {"prompt": tuple(range(300, 340)), "task": "translate", "language": "hi"},
        {"prompt": tuple(range(1000, 1400))},  # longer than there is room: the end of it is used
        {"beam_size": 3},
    ],
    ids=lambda options: ",".join(options) or "default",
)
def test_float32_gives_the_tokens_of_the_torch_engine(
    multilingual: Pair, float32: CTranslate2Engine, options: dict[str, object]
) -> None:
    batch = windows(5, **options)
    for ours, theirs in zip(float32.decode(batch), multilingual.engine.decode(batch), strict=True):
        assert_alike(ours, theirs)


def test_beams_are_ranked_by_upstreams_length_penalty(float32: CTranslate2Engine) -> None:
    """CTranslate2 would divide by length ** penalty; upstream divides by ((5 + length) / 6) ** penalty."""
    sums = {(1,): -2.0, (1, 2, 3, 4): -3.2}  # tokens → log-likelihood
    result = SimpleNamespace(
        sequences_ids=[list(tokens) for tokens in sums],
        scores=[total / len(tokens) for tokens, total in sums.items()],
        no_speech_prob=0.25,
    )
    for penalty, best in ((None, (1, 2, 3, 4)), (0.6, (1,)), (0.0, (1,))):
        window = reference.window(
            checkpoints.random_audio(1, 1), language="en", beam_size=2, length_penalty=penalty
        )
        model = float32.model
        its_plan = plan(window, "en", model.dims, model.tokenizer)
        found = search._best(result, its_plan, call_of(its_plan, token_logprobs=False))
        assert (found.tokens, found.logprob) == (best, pytest.approx(sums[best]))


@pytest.mark.parametrize("timestamps", [True, False])
def test_an_english_only_model(english_only: Pair, timestamps: bool) -> None:
    batch = windows(4, without_timestamps=not timestamps)
    for ours, theirs in zip(
        make_engine(english_only.path).decode(batch), english_only.engine.decode(batch), strict=True
    ):
        assert_alike(ours, theirs)


def test_a_model_with_128_mels_and_cantonese(large_v3: Pair) -> None:
    batch = windows(3, language="yue")
    for ours, theirs in zip(
        make_engine(large_v3.path).decode(batch), large_v3.engine.decode(batch), strict=True
    ):
        assert_alike(ours, theirs)


def test_windows_of_all_kinds_share_a_batch(multilingual: Pair, float32: CTranslate2Engine) -> None:
    sound = checkpoints.random_audio(9, 77)
    kinds: list[dict[str, object]] = [
        {"language": "de"},
        {"language": None},
        {"prompt": (400, 401, 402)},
        {"prompt": (500, 501, 502), "language": "fr"},
        {"beam_size": 2, "max_tokens": 30},
        {"without_timestamps": True},
        {"without_timestamps": True, "prefix": (400, 401)},
        {"language": "hi", "task": "translate"},
        {"task": "detect_language"},
        {"language": None, "languages": ("en", "hi")},
    ]
    batch = [reference.window(sound, **{"language": "en", **kind}) for kind in kinds]
    ours, theirs = float32.decode(batch), multilingual.engine.decode(batch)
    for one, other in zip(ours, theirs, strict=True):
        assert_alike(one, other)
        assert isinstance(one, Hypothesis) and isinstance(other, Hypothesis)
        assert [code for code, _ in one.language_probs] == [code for code, _ in other.language_probs]
        assert [p for _, p in one.language_probs] == pytest.approx(
            [p for _, p in other.language_probs], abs=1e-4
        )


def test_word_times_are_the_torch_engines(multilingual: Pair, float32: CTranslate2Engine) -> None:
    batch = windows(5, word_timestamps=True)
    aligned = 0
    for ours, theirs in zip(float32.decode(batch), multilingual.engine.decode(batch), strict=True):
        assert isinstance(ours, Hypothesis) and isinstance(theirs, Hypothesis)
        assert ours.alignment is not None and theirs.alignment is not None
        assert ours.alignment.tokens == theirs.alignment.tokens
        assert ours.alignment.starts == theirs.alignment.starts
        assert ours.alignment.probs == pytest.approx(theirs.alignment.probs, abs=1e-4)
        aligned += len(ours.alignment.tokens)
    assert aligned > 10


def test_words_of_a_window_of_one_frame_do_not_crash(float32: CTranslate2Engine) -> None:
    """An alignment without audio positions ends the process in CTranslate2 (its issue 2065)."""
    sound = checkpoints.random_audio(0.01, 3)
    window = reference.window(sound, language="en", word_timestamps=True)
    assert window.num_frames == 1
    [hypothesis] = float32.decode([window])
    assert isinstance(hypothesis, Hypothesis) and hypothesis.alignment is not None


def test_token_logprobs_are_the_torch_engines(multilingual: Pair, float32: CTranslate2Engine) -> None:
    batch = windows(3, token_logprobs=True)
    for ours, theirs in zip(float32.decode(batch), multilingual.engine.decode(batch), strict=True):
        assert isinstance(ours, Hypothesis) and isinstance(theirs, Hypothesis)
        assert len(ours.token_logprobs) == len(ours.tokens)
        assert ours.token_logprobs == pytest.approx(theirs.token_logprobs, abs=1e-3)


def test_a_sampled_window_reports_the_likelihood_without_temperature(
    multilingual: Pair, float32: CTranslate2Engine
) -> None:
    """Upstream's guard compares the likelihood at temperature 1 with its threshold, whatever was sampled."""
    options = {"temperature": 0.7, "best_of": 2, "max_tokens": 12, "without_timestamps": True}
    window = reference.window(checkpoints.random_audio(6, 5), language="en", suppress_tokens=(), **options)
    [hypothesis] = float32.decode([window])
    assert isinstance(hypothesis, Hypothesis) and hypothesis.temperature == 0.7
    tokens = list(hypothesis.tokens)
    tokenizer = whisper.tokenizer.get_tokenizer(True, language="en", task="transcribe")
    sot = list(tokenizer.sot_sequence_including_notimestamps)
    mel = reference.segment(window.samples, window.num_frames, 80)[None]
    with torch.inference_mode():
        logits = multilingual.reference(mel, torch.tensor([[*sot, *tokens]]))[0, len(sot) - 1 :]
    logits = logits.clone()  # what inference mode made cannot be changed
    logits[0, [*tokenizer.encode(" "), tokenizer.eot]] = -torch.inf
    logprobs = logits.log_softmax(-1)
    ends = [] if hypothesis.truncated else [tokenizer.eot]
    total = sum(float(row[token]) for row, token in zip(logprobs, [*tokens, *ends], strict=False))
    assert hypothesis.avg_logprob == pytest.approx(total / (len(tokens) + 1), abs=LOGPROB_TOLERANCE)


@pytest.mark.parametrize("long_form", ["sequential", "parallel"])
def test_a_session_comes_to_the_same_transcript(
    multilingual: Pair, float32: CTranslate2Engine, long_form: str
) -> None:
    """Guards, prompts and the seek live in the session: with the same hypotheses it does the same."""
    audio = Audio(checkpoints.random_audio(43, 21), MediaSource("wav", "pcm_s16le", 16_000, 1))
    options = RequestOptions(
        DecodingOptions(language="en", max_tokens=30), (0.0,), long_form=long_form, vad_filter=False
    )
    transcripts = []
    for engine in (float32, multilingual.engine):
        session = open_session(prepared_from(audio, options, engine.spec.n_mels), options, engine.spec)
        drive(engine, [session])
        assert session.error is None
        transcripts.append(session.transcript())
    ours, theirs = transcripts
    assert [(one.start, one.end, one.tokens) for one in ours.segments] == [
        (one.start, one.end, one.tokens) for one in theirs.segments
    ]
    assert ours.stats.windows == theirs.stats.windows > 1


def test_deterministic_mode_gives_a_window_the_same_tokens_beside_any_neighbours(multilingual: Pair) -> None:
    engine = make_engine(multilingual.path, deterministic=True, compute_type="int8")
    window, *neighbours = windows(6)
    [alone] = engine.decode([window])
    assert isinstance(alone, Hypothesis)
    for count in (1, 3, 5):
        beside = engine.decode([*neighbours[:count], window])[-1]
        assert isinstance(beside, Hypothesis)
        assert (beside.tokens, beside.avg_logprob) == (alone.tokens, alone.avg_logprob)


def test_int8_decodes_near_to_float32(multilingual: Pair, float32: CTranslate2Engine) -> None:
    """Random weights leave no margin between tokens, so the first ones are compared, by their likelihood."""
    engine = make_engine(multilingual.path, compute_type="int8")
    assert "int8" in engine.description
    batch = windows(4, max_tokens=3)
    for ours, exact in zip(engine.decode(batch), float32.decode(batch), strict=True):
        assert isinstance(ours, Hypothesis) and isinstance(exact, Hypothesis)
        assert ours.avg_logprob == pytest.approx(exact.avg_logprob, abs=0.5)
        assert ours.no_speech_prob == pytest.approx(exact.no_speech_prob, abs=0.2)


def test_what_it_cannot_do_fails_alone(float32: CTranslate2Engine) -> None:
    sound = checkpoints.random_audio(2, 1)
    batch = [
        reference.window(sound, language="en", max_tokens=3),
        reference.window(sound, language="en", prompt=(300, 50_258, 301)),
        reference.window(sound, language="en", beam_size=2, token_logprobs=True),
        reference.window(sound, language="xx"),
    ]
    good, prompt, beam, language = float32.decode(batch)
    assert isinstance(good, Hypothesis)
    for error, param in ((prompt, "prompt"), (beam, "beam_size"), (language, "language")):
        assert isinstance(error, InvalidOption)
        assert error.param == param


def test_the_conversion_is_made_once_and_follows_the_content(
    multilingual: Pair, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "some.pt"
    shutil.copy(multilingual.path, path)
    make_engine(path)
    cache = tmp_path / ".ctranslate2"
    [made] = [folder for folder in cache.iterdir() if folder.is_dir()]
    assert {"model.bin", "config.json", "vocabulary.json"} <= {file.name for file in made.iterdir()}
    with monkeypatch.context() as patch:
        patch.setattr(conversion, "model_spec", lambda *_: pytest.fail("converted again"))
        make_engine(path)
    other = checkpoints.random_model(checkpoints.dims(), seed=9)
    checkpoints.save_checkpoint(other, path)
    make_engine(path)
    assert len([folder for folder in cache.iterdir() if folder.is_dir()]) == 2


def test_where_the_checkpoint_lies_read_only_the_users_cache_is_taken(
    multilingual: Pair, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "some.pt"
    shutil.copy(multilingual.path, path)
    (tmp_path / ".ctranslate2").write_text("no folder can be made here")
    monkeypatch.setattr(Path, "home", lambda: tmp_path / "home")
    make_engine(path)
    assert len(list((tmp_path / "home").rglob("model.bin"))) == 1
    (tmp_path / "home").rename(tmp_path / "elsewhere")
    (tmp_path / "home").write_text("nor here")
    with pytest.raises(ConfigError, match="cannot be converted"):
        make_engine(path)


def test_two_workers_that_convert_at_once_share_one_model(
    multilingual: Pair, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "some.pt"
    shutil.copy(multilingual.path, path)
    build = conversion.model_spec

    def build_after_another_worker(*arguments: object) -> object:
        monkeypatch.setattr(conversion, "model_spec", build)
        make_engine(path)
        return build(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(conversion, "model_spec", build_after_another_worker)
    make_engine(path)
    cache = tmp_path / ".ctranslate2"
    assert len(list(cache.rglob("model.bin"))) == 1
    assert not [folder for folder in cache.iterdir() if folder.name.startswith(".some")]


def test_a_half_precision_checkpoint_stays_one(tmp_path: Path) -> None:
    model = checkpoints.random_model(checkpoints.dims(), seed=4).half()
    path = checkpoints.save_checkpoint(model, tmp_path / "half.pt")
    engine = make_engine(path)
    [model_file] = (tmp_path / ".ctranslate2").glob("*/model.bin")
    assert model_file.stat().st_size < 1.2 * path.stat().st_size
    [hypothesis] = engine.decode(windows(1, max_tokens=5))
    assert isinstance(hypothesis, Hypothesis)


def test_a_missing_package_is_named_with_its_command(
    multilingual: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    def missing(name: str) -> object:
        raise ImportError(f"No module named {name!r}")

    monkeypatch.setattr(conversion, "import_module", missing)
    with pytest.raises(ConfigError, match=r"pip install -r requirements-ctranslate2\.txt"):
        load_engine(EngineConfig(model=str(multilingual.path), backend="ctranslate2"))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"backend": "ctranslate2", "compute_type": "int8_float16"}, r"compute_type.*int8_float16.*int8"),
        ({"backend": "torch", "compute_type": "int8"}, "which only the backends"),
        ({"backend": "ctranslate2", "compute_type": "int4"}, "compute_type is 'int4'"),
    ],
)
def test_a_configuration_that_cannot_run_is_refused(
    multilingual: Pair, settings: dict[str, str], message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        load_engine(EngineConfig(model=str(multilingual.path), device="cpu", **settings))


def test_load_engine_picks_the_backend(multilingual: Pair) -> None:
    engine = load_engine(EngineConfig(model=str(multilingual.path), backend="ctranslate2", threads=1))
    assert isinstance(engine, CTranslate2Engine)
    assert "int8" in engine.description  # auto on a CPU
    assert engine.spec.n_text_ctx == 448


@pytest.mark.skipif(not (ROOT / "whisper-models/demo.pt").is_file(), reason="no demo checkpoint")
def test_the_demo_checkpoint_reads_the_samples_alike(make_demo: Callable[[str], object]) -> None:
    samples = sorted((ROOT / "samples").glob("*.wav"))
    if not samples:
        pytest.skip("no samples")
    batch = [
        reference.window(media.decode(file.read_bytes(), Limits()).samples, language=None)
        for file in samples[:4]
    ]
    ours, theirs = make_demo("ctranslate2").decode(batch), make_demo("torch").decode(batch)  # type: ignore[attr-defined]
    for one, other in zip(ours, theirs, strict=True):
        assert_alike(one, other)


@pytest.fixture
def make_demo() -> Callable[[str], object]:
    def make(backend: str) -> object:
        path = ROOT / "whisper-models/demo.pt"
        return load_engine(
            EngineConfig(model=str(path), backend=backend, precision="float32", threads=1, loop_guard=False)
        )

    return make
