"""Children that measure, and children that die."""

from __future__ import annotations

import re
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

import pytest
import yaml

from asr.config import EngineConfig
from asr.engines import load_engine
from tests.ops.commands import ROOT, last_line, serve
from tests.tune.samples import cell
from tune.__main__ import main
from tune.chart import LEFT, PLOT_HEIGHT, PLOT_WIDTH, TOP, Scale, chart
from tune.configurations import Configuration, Space, space_of
from tune.measurements import Cell, Failure, Sample
from tune.processes import Children, failure_reason
from tune.recordings import differences, intelligible, recordings, word_errors
from tune.runner import Runner
from whisper_client.references import Reference

DEMO = ROOT / "whisper-models" / "demo.pt"
CONFIGURATION = Configuration("torch", "float32", 1, 4, full_windows=False)


def clips() -> list[Reference]:
    return recordings(DEMO, None)[:2]


def runner() -> Runner:
    return Runner(DEMO, "cpu", clips(), timeout_s=240)


@pytest.fixture(scope="module")
def measured() -> Sample | Failure:
    return runner().measure(CONFIGURATION)


@pytest.fixture(scope="module")
def refused() -> Sample | Failure:
    return runner().measure(replace(CONFIGURATION, numbers="float16"))


@pytest.mark.slow
def test_a_configuration_is_measured_in_a_child(measured: Sample | Failure) -> None:
    assert isinstance(measured, Sample), measured
    assert set(measured.texts) == {"harvard.wav", "digits.flac"}
    assert measured.audio_s > 20
    assert measured.peak_bytes > 100 * 2**20
    assert min(measured.wall_s, measured.cpu_s, measured.clip_s, measured.load_s) > 0
    words = word_errors(clips(), measured.texts, measured.texts)
    assert (words.wrong, words.changed) == (0, ())


@pytest.mark.slow
def test_a_configuration_that_the_engine_refuses_says_why(refused: Sample | Failure) -> None:
    assert refused == Failure("engine.precision is 'float16', which CPUs lack: use float32, bfloat16 or auto")


def test_a_child_that_crashes_is_a_failure_with_its_signal(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "crashing.py").write_text("import os, signal\nos.kill(os.getpid(), signal.SIGSEGV)\n")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    found = replace(runner(), children=Children("crashing")).measure(CONFIGURATION)
    assert found == Failure("crashed by SIGSEGV")


def test_a_child_is_asked_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "counting.py").write_text(
        "import sys\nfor number, line in enumerate(sys.stdin):\n    print(number, line.strip(), flush=True)\n"
    )
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    with closing(Children("counting", most=2)) as children:
        asked = [children.answer(task, 60) for task in ("a", "b", "a", "c", "a", "b")]
    assert asked == ["0 a\n", "0 b\n", "1 a\n", "0 c\n", "2 a\n", "0 b\n"]  # c ended b


def test_a_child_that_ends_is_replaced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "tiring.py").write_text("print(input(), flush=True)\nraise SystemExit('tired')\n")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    with closing(Children("tiring")) as children:
        asked = [children.answer("a", 60) for _ in range(3)]
    assert asked == ["a\n", Failure("tired"), "a\n"]


def test_a_child_that_hangs_is_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "hanging.py").write_text("import time\ntime.sleep(600)\n")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    found = replace(runner(), children=Children("hanging"), timeout_s=0.5).measure(CONFIGURATION)
    assert found == Failure("took longer than 0.5 s")


@pytest.mark.parametrize(
    ("status", "stderr", "reason"),
    [
        (-9, "", "crashed by SIGKILL, out of memory perhaps"),
        (1, "Traceback\nasr.config.ConfigError: no: such thing\n", "no: such thing"),
        (1, "Traceback\nKeyError\n", "KeyError"),
        (3, "", "exit status 3"),
    ],
)
def test_the_reason_of_a_failure_is_one_line(status: int, stderr: str, reason: str) -> None:
    assert failure_reason(status, stderr) == reason


def test_recordings_that_the_model_does_not_understand_are_left_out() -> None:
    clips = [Reference(name, Path(name), "one two three four", "en") for name in ("a", "b", "c")]
    texts = {"a": "One, two, three, four.", "b": "five two six seven"}
    assert intelligible(clips, texts) == clips[:1]


def test_words_are_counted_against_the_reference_and_shown_against_float32() -> None:
    clip = Reference("a", Path("a"), "One two three four.", "en")
    words = word_errors([clip], {"a": "one two 3 four five"}, {"a": "one two three four"})
    assert (words.wrong, words.total) == (2, 4)
    assert words.changed == ("three → 3", "(nothing) → five")
    assert differences(["so", "be", "it"], ["be", "it"]) == ["so → (nothing)"]


def test_the_space_begins_with_what_auto_takes() -> None:
    space = space_of(str(DEMO), "cpu")
    assert space.today in space.first_round()
    assert space.reference in space.first_round()
    engine = load_engine(EngineConfig(str(DEMO), device="cpu", threads=1, warm_up=False))
    backend = "" if space.today.backend == "torch" else "onnxruntime "
    assert engine.description == f"cpu {backend}{space.today.numbers}"
    assert space.axes()["spinning"](Configuration("torch", "float32", 2, 8)) == []


def test_the_picture_shows_the_winner_and_why_the_others_lost() -> None:
    winner, slow, dead = (
        cell(20, 20, 20),
        cell(10, 11, 12, backend="onnxruntime"),
        cell(backend="ctranslate2"),
    )
    slow.loses, dead.loses = "0.55 of the winner's speed", "crashed by SIGILL & more"
    picture = chart("base on <a processor>", winner, [winner, slow, dead])
    ElementTree.fromstring(picture)
    for text in (
        "base on &lt;a processor&gt;",
        "0.55 of the winner's speed",
        "SIGILL &amp; more",
        "20.0 × real",
    ):
        assert text in picture
    assert picture.count("<g><title>") == 2  # what was not measured has no place


def test_the_lines_of_the_rounds_stay_in_the_picture() -> None:
    winner = cell(20, 20, 90)
    picture = chart("base", winner, [winner, cell(2, 19, 20)])
    lines = re.findall(r'd="M([\d.]+) [\d.]+H([\d.]+)M[\d.]+ ([\d.]+)V([\d.]+)"', picture)
    assert len(lines) == 2
    for x1, x2, y1, y2 in lines:
        assert LEFT <= min(float(x1), float(x2)) < max(float(x1), float(x2)) <= LEFT + PLOT_WIDTH
        assert TOP <= min(float(y1), float(y2)) < max(float(y1), float(y2)) <= TOP + PLOT_HEIGHT


def test_a_logarithmic_axis_has_ticks_however_short() -> None:
    scale = Scale.over([10, 12], 0, 100)
    assert len(scale.ticks()) >= 1
    assert scale.at(scale.low) == 0
    assert scale.at(scale.high) == pytest.approx(100)


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_search_writes_what_auto_then_takes(
    measured: Sample,
    refused: Failure,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """The command on the demo, over two formats, one of which no processor has: a child for each."""
    formats = (("torch", "float32"), ("torch", "float16"))
    today = Configuration("torch", "float32", threads=1, batch=4)
    space = Space(formats, threads=1, batches=(4,), today=today)
    monkeypatch.setattr("tune.__main__.space_of", lambda model, device: space)
    outcomes = {"float32": measured, "float16": refused}
    monkeypatch.setattr(Runner, "measure", lambda _, configuration: outcomes[configuration.numbers])
    monkeypatch.setattr("tune.__main__.recordings", lambda *_: clips())
    folder = tmp_path / "tuned"
    assert (
        main([str(DEMO), "--device", "cpu", "--minutes", "9", "--folder", str(folder), "--accept-busy"]) == 0
    )
    [file] = (tmp_path / "tuned").glob("*-demo.yaml")
    assert file.with_suffix(".svg").is_file()
    found = yaml.safe_load(file.read_text(encoding="utf-8"))
    assert found["engine"]["backend"] == "torch"
    reasons = [each["verdict"] for each in found["results"] if "float16" in each["configuration"]]
    assert reasons == ["engine.precision is 'float16', which CPUs lack: use float32, bfloat16 or auto"] * 2
    assert "the winner" in capsys.readouterr().out
    config = EngineConfig(str(DEMO), device="cpu", tuning_dir=str(tmp_path / "tuned"), warm_up=False)
    engine = load_engine(config)
    assert engine.description == "cpu float32"
    assert engine.spec.short_windows is not found["engine"]["full_windows"]


@pytest.mark.slow
def test_serve_sh_hands_the_checkpoint_over(tmp_path: Path) -> None:
    broken = tmp_path / "mine.pt"
    broken.write_bytes(b"weights")
    done = serve("--tune", str(broken), "--device", "cpu")
    assert done.returncode == 1
    assert "mine.pt' is not a readable checkpoint" in last_line(done.stderr)


@pytest.mark.slow
def test_workers_look_into_the_folder_of_the_files(tmp_path: Path) -> None:
    checkpoint = tmp_path / "mine.pt"
    checkpoint.write_bytes(b"weights")
    done = serve(str(checkpoint), "--print-config")
    assert f"tuning_dir: {ROOT}/config/tuned\n" in done.stdout


def test_a_cell_without_samples_can_be_written() -> None:
    never = Cell(CONFIGURATION, loses="not measured, the time was up")
    assert never.as_table() == {
        "configuration": "torch float32, short windows, batch 4, 1 thread",
        "rounds": 0,
        "verdict": "not measured, the time was up",
    }
