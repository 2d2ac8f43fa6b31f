"""Several models of one server: what the command line and config/models.yaml say, and what comes of it."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from gateway.settings import load_settings
from scripts.serve import settings
from scripts.serve.arguments import parse_options
from scripts.serve.gateway_models import GatewayModels
from scripts.serve.memory import Memory, Need
from scripts.serve.model_table import read_table, table_of_words
from scripts.serve.serve_error import ServeError
from scripts.serve.served_models import (
    Served,
    for_torchserve,
    model_configs,
    on_demand_properties,
    served_models,
)
from tests.ops.commands import ROOT, last_line, serve

BASE = settings.read_model_config(ROOT / "config" / "model-config.yaml")
TABLE = """
models:
  whisper: {checkpoint: base, workers: 1, aliases: [gpt-4o-transcribe, Systran/faster-whisper-base]}
  hindi:
    {checkpoint: models/whisper-hindi, workers: 2, batch_size: 4, languages: [hi, mr, ne], fallback: whisper}
  english: {checkpoint: tiny.en, languages: [en], device: cpu}
"""


def table_file(folder: Path, text: str = TABLE) -> Path:
    (folder / "config").mkdir(exist_ok=True)
    (folder / "config" / "models.yaml").write_text(text, encoding="utf-8")
    return folder / "config" / "models.yaml"


def test_words_of_the_command_line() -> None:
    words = ["base", "hi=path/to/whisper-hindi", "tiny.en", "small=/data/a=b/model.pt", "tamil=ta.pt"]
    table = table_of_words(words)
    assert [(name, row.checkpoint) for name, row in table.rows.items()] == [
        ("whisper", "base"),
        ("hi", "path/to/whisper-hindi"),
        ("tiny.en", "tiny.en"),
        ("small", "/data/a=b/model.pt"),
        ("tamil", "ta.pt"),
    ]
    assert [row.languages for row in table.rows.values()] == [(), ("hi",), (), (), ("ta",)]


def test_the_first_model_takes_every_language_whatever_it_is_called() -> None:
    """In TorchServe it is whisper, so that every path of a server with one model stays."""
    table = table_of_words(["hi=path/to/whisper-hindi", "en=tiny.en"])
    assert [(name, row.languages) for name, row in table.rows.items()] == [("whisper", ()), ("en", ("en",))]
    assert table.default[1].aliases == ("hi",)


def test_a_fallback_on_the_first_model_follows_its_name(tmp_path: Path) -> None:
    text = "models: {main: {checkpoint: base}, hindi: {checkpoint: base, fallback: main}}"
    table = read_table(table_file(tmp_path, text))
    assert table is not None and table.others["hindi"].fallback == "whisper"


def test_the_table_of_the_file(tmp_path: Path) -> None:
    table = read_table(table_file(tmp_path))
    assert table is not None
    assert table.default[0] == "whisper" and list(table.others) == ["hindi", "english"]
    hindi = table.others["hindi"]
    assert (hindi.checkpoint, hindi.workers, hindi.batch_size) == ("models/whisper-hindi", 2, 4)
    assert (hindi.languages, hindi.fallback) == (("hi", "mr", "ne"), "whisper")


@pytest.mark.parametrize("text", ["", "# models:\n", "models:\n"])
def test_a_file_without_models_is_none(tmp_path: Path, text: str) -> None:
    assert read_table(table_file(tmp_path, text)) is None
    assert read_table(tmp_path / "nowhere.yaml") is None


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        ("a: {checkpoint: b, worker: 2}", "models.yaml: a: worker: known are checkpoint, workers"),
        ("a: {workers: 2}", "models.yaml: a: checkpoint: Field required"),
        ("a: base", "models.yaml: a: its value: "),
        ("a: {checkpoint: b, workers: 0}", "models.yaml: a: workers: "),
        ("a: {checkpoint: b, workers: '2'}", "models.yaml: a: workers: "),
        ("a: {checkpoint: b, device: gpu}", "models.yaml: a: device: 'gpu' must be auto, cpu, cuda or"),
        ("a: {checkpoint: b}, b: {checkpoint: b, languages: [hindi]}", "languages: hindi must be Whisper's"),
        ("a: {checkpoint: b, languages: [en]}", "a is the first model and takes every language"),
        ("a/b: {checkpoint: b}", "a model is called 'a/b', must be at most 64 letters, digits"),
        ("a: {checkpoint: b, aliases: [x]}, b: {checkpoint: b, aliases: [x]}", "'x' names two models, a"),
        ("a: {checkpoint: b}, b: {checkpoint: b, aliases: [a]}", "'a' names two models, a and b"),
        (
            "a: {checkpoint: b}, b: {checkpoint: b, languages: [hi]}, c: {checkpoint: b, languages: [hi]}",
            "two models take the language hi: b and c",
        ),
        ("a: {checkpoint: b}, whisper: {checkpoint: b}", "whisper is the first model's name in TorchServe"),
        ("a: {checkpoint: b, fallback: b}", "a: fallback is 'b', must be another model"),
        ("a: {checkpoint: b, fallback: a}", "a: fallback is 'a', must be another model"),
        ("a: {checkpoint: b, load: on_demand}", "a is the first model and loads at start"),
        ("a: {checkpoint: b}, b: {checkpoint: b, idle_s: 60}", "b: idle_s is for models with `load: on_"),
        ("a: {checkpoint: b}, b: {checkpoint: b, load: later}", "b: load: Input should be 'start' or 'on_"),
    ],
)  # fmt: skip
def test_a_table_that_is_not_clear_is_refused(tmp_path: Path, rows: str, said: str) -> None:
    with pytest.raises(ServeError) as refusal:
        read_table(table_file(tmp_path, f"models: {{{rows}}}"))
    assert said in str(refusal.value) and "\n" not in str(refusal.value)


@pytest.mark.parametrize(
    "text", ["models: [base]", "base", "models: {a: {checkpoint: b}}\nmore: 1", "models: {"]
)
def test_another_file_is_refused(tmp_path: Path, text: str) -> None:
    with pytest.raises(ServeError, match=r"models\.yaml (must be a table `models:`|is not YAML)"):
        read_table(table_file(tmp_path, text))


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["base", "base"], None),
        (["base", "tiny", "models/tiny.pt"], "two models are called 'tiny'"),
        (["base", "tiny", "tiny=tiny.en"], "two models are called 'tiny'"),
        (["base", "models/my model"], "'models/my model' gives no name to call it by"),
    ],
)
def test_words_that_name_no_model_clearly_are_refused(words: list[str], said: str | None) -> None:
    if said is None:
        assert list(table_of_words(words).rows) == ["whisper", "base"]
        return
    with pytest.raises(ServeError, match=said):
        table_of_words(words)


def test_every_model_has_its_configuration(tmp_path: Path) -> None:
    """Its checkpoint, workers, batch size and device; the cores are shared by all workers of all models."""
    (tmp_path / "models" / "whisper-hindi").mkdir(parents=True)
    (tmp_path / "models" / "whisper-hindi" / "config.json").write_text("{}")
    table_file(tmp_path)
    options = parse_options([], {}, tmp_path, tmp_path / "elsewhere")
    served = served_models(options, tmp_path, tmp_path / "elsewhere")
    configs = model_configs(
        settings.read_model_config(ROOT / "config" / "model-config.yaml"), options, served
    )
    engines = {name: config["handler"]["engine"] for name, config in configs.items()}
    assert engines["hindi"]["model"] == str(tmp_path / "models" / "whisper-hindi"), "from the repository on"
    assert [(c["minWorkers"], c["maxWorkers"], c["batchSize"]) for c in configs.values()] == [
        (1, 1, 16), (2, 2, 4), (1, 1, 16),
    ]  # fmt: skip
    assert {engine["workers"] for engine in engines.values()} == {4}
    assert engines["hindi"]["max_batch_size"] == 4
    assert (engines["english"]["device"], engines["whisper"]["device"]) == ("cpu", "auto")
    for config in configs.values():
        settings.check_handler_section(config)


def test_the_gateway_learns_of_the_models(tmp_path: Path) -> None:
    (tmp_path / "models" / "whisper-hindi").mkdir(parents=True)
    (tmp_path / "models" / "whisper-hindi" / "config.json").write_text("{}")
    table_file(tmp_path)
    served = served_models(parse_options([], {}, tmp_path, tmp_path), tmp_path, tmp_path)
    models = GatewayModels(served, {"whisper": 1, "hindi": 2, "english": 1})
    upstream = load_settings(models.variables(["whisper-1"])).upstream
    assert upstream.model == "whisper"
    assert upstream.aliases == ("whisper-1", "gpt-4o-transcribe", "Systran/faster-whisper-base")
    assert list(upstream.models) == ["hindi", "english"]
    hindi = upstream.models["hindi"]
    assert (hindi.languages, hindi.workers, hindi.fallback) == (("hi", "mr", "ne"), 2, "whisper")


def test_one_model_changes_nothing_for_the_gateway(tmp_path: Path) -> None:
    served = served_models(parse_options(["demo"], {}, ROOT, tmp_path), ROOT, tmp_path)
    assert GatewayModels(served, {"whisper": 1}).variables(["whisper-1"]) == {}


ON_DEMAND = """
models:
  whisper: {checkpoint: whisper-models/demo.pt}
  hindi: {checkpoint: whisper-models/demo.pt, workers: 2, load: on_demand, idle_s: 60}
"""


def test_a_model_on_demand_is_registered_without_workers(tmp_path: Path) -> None:
    served = demo_models(tmp_path, ON_DEMAND)
    configs = model_configs(BASE, parse_options([], {}, tmp_path, tmp_path), served)
    written = for_torchserve(configs, served)
    assert [(written[name]["minWorkers"], written[name]["maxWorkers"]) for name in written] == [
        (1, 1),
        (0, 0),
    ]
    assert on_demand_properties(configs, served) == {
        "default_workers_per_model": "-1",
        "models": '{"hindi": {"1.0": {"maxWorkers": 2}}}',
    }
    assert on_demand_properties(configs, served[:1]) == {}


@pytest.mark.slow
def test_the_gateway_learns_what_models_on_demand_take(tmp_path: Path) -> None:
    """Nothing is known of a model that cannot be read: its worker will say why."""
    (tmp_path / "bad.pt").write_bytes(b"no checkpoint")
    served = demo_models(tmp_path, ON_DEMAND + "  bad: {checkpoint: bad.pt}\n")
    configs = model_configs(BASE, parse_options([], {}, tmp_path, tmp_path), served)
    models = GatewayModels(served, {"whisper": 1, "hindi": 2, "bad": 1}).with_memory(configs, ROOT)
    assert models.needs_mb.keys() == {"whisper", "hindi"}
    environ = models.variables(["whisper-1"])
    environ["GATEWAY_UPSTREAM__MANAGEMENT_URLS"] = "http://127.0.0.1:8081"
    upstream = load_settings(environ).upstream
    hindi = upstream.models["hindi"]
    assert (hindi.load, hindi.idle_s, hindi.workers) == ("on_demand", 60, 2)
    assert 2 * 400 < hindi.memory_mb["cpu"] < 2 * 2_000
    assert upstream.memory_mb["cpu"] > hindi.memory_mb["cpu"]


def test_models_that_do_not_fit_together_are_refused_with_the_numbers() -> None:
    needs = [
        Need("whisper", {"cpu": 3_000_000_000}, workers=2, is_on_demand=False),
        Need("hindi", {"cpu": 2_500_000_000}, workers=1, is_on_demand=False),
    ]
    assert Memory(needs, {"cpu": 5_500_000_000}).for_on_demand == {}
    with pytest.raises(ServeError) as refusal:
        _ = Memory(needs, {"cpu": 4_000_000_000}).for_on_demand
    assert str(refusal.value).startswith(
        "the models need 5.5 GB of memory together, 4.0 GB are free: whisper 2 x 1.5 GB, hindi 2.5 GB. "
        "Nothing was loaded: serve fewer models or smaller ones, lower `batch_size` or `workers`"
    )


def test_a_model_on_demand_must_fit_beside_those_that_load_at_start() -> None:
    needs = [
        Need("whisper", {"cpu": 1_000_000_000, "cuda": 6_000_000_000}, workers=1, is_on_demand=False),
        Need("hindi", {"cpu": 1_000_000_000, "cuda": 6_000_000_000}, workers=1, is_on_demand=True),
        Need("tamil", {"cpu": 1_000_000_000, "cuda": 6_000_000_000}, workers=1, is_on_demand=True),
    ]
    free = {"cpu": 16_000_000_000, "cuda": 16_000_000_000}
    assert Memory(needs, free).for_on_demand == {"cpu": 15_000_000_000, "cuda": 10_000_000_000}
    with pytest.raises(ServeError, match=r"hindi loads on demand and needs 6.0 GB of GPU memory; 5.0 GB are"):
        _ = Memory(needs, free | {"cuda": 11_000_000_000}).for_on_demand


def demo_models(folder: Path, table: str) -> tuple[Served, ...]:
    (folder / "whisper-models").mkdir()
    (folder / "whisper-models" / "demo.pt").symlink_to(ROOT / "whisper-models" / "demo.pt")
    table_file(folder, table)
    return served_models(parse_options([], {}, folder, folder), folder, folder)


@pytest.mark.slow
def test_serve_sh_shows_every_model(tmp_path: Path) -> None:
    (tmp_path / "mine.pt").write_bytes(b"weights")
    result = serve("demo", "hi=mine.pt", "--print-config", cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    properties, first, second = result.stdout.split("\n# model-config.yaml")
    assert "load_models=whisper.mar,hi.mar" in properties.splitlines()
    assert first.startswith(" of whisper\n") and second.startswith(" of hi\n")
    engine = yaml.safe_load(second.partition("\n")[2])["handler"]["engine"]
    assert engine["model"] == str(tmp_path / "mine.pt")
    result = serve("demo", "hi=nowhere.pt", "--print-config", cwd=tmp_path)
    assert result.returncode == 1 and "no checkpoint at" in last_line(result.stderr)


def test_the_shipped_table_is_an_example_that_serves_base(tmp_path: Path) -> None:
    file = ROOT / "config" / "models.yaml"
    assert read_table(file) is None, "./serve.sh alone is as before"
    lines = file.read_text(encoding="utf-8").splitlines()
    shown = "\n".join(line.removeprefix("# ") for line in lines[lines.index("# models:") :])
    example = read_table(table_file(tmp_path, shown))
    assert example is not None
    assert [row.languages for row in example.rows.values()] == [(), ("hi", "mr", "ne"), ("en",), ("ta",), ()]
