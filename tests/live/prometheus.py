"""Debian's Prometheus for tests: the repository's configuration and rules, aimed at servers under test."""

from __future__ import annotations

import re
import shutil
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import yaml

from scripts.serve.addresses import free_ports
from tests.dashboard import Prometheus
from tests.processes import started

CONFIG_DIR = Path(__file__).resolve().parents[2] / "deploy" / "prometheus"
SCRAPE_EVERY = "1s"
READY_WITHIN_S = 60


def is_installed() -> bool:
    return shutil.which("prometheus") is not None


@contextmanager
def running(
    tmp_path: Path, targets: Mapping[str, Sequence[str]], *, alert_at_once: bool = False
) -> Iterator[Prometheus]:
    """A Prometheus that scrapes `targets` ("torchserve" → addresses without scheme) and nothing else.

    With `alert_at_once` alerts fire as soon as their condition holds, not after the minutes it must last.
    """
    config_dir = tmp_path / "prometheus"
    shutil.copytree(CONFIG_DIR, config_dir)
    for file in (config_dir / "targets").iterdir():
        file.write_text(yaml.safe_dump([{"targets": list(targets.get(file.stem, ()))}]))
    if alert_at_once:
        rules = config_dir / "rules" / "alerts.yaml"
        rules.write_text(re.sub(r"^ +for: \w+$", "", rules.read_text(), flags=re.MULTILINE))
    config_file = config_dir / "prometheus.yml"
    config = yaml.safe_load(config_file.read_text())
    config["global"] = {"scrape_interval": SCRAPE_EVERY, "evaluation_interval": SCRAPE_EVERY}
    config_file.write_text(yaml.safe_dump(config))
    (port,) = free_ports(1)
    command = [
        "prometheus",
        f"--config.file={config_file}",
        f"--storage.tsdb.path={tmp_path / 'tsdb'}",
        f"--web.listen-address=127.0.0.1:{port}",
    ]
    log_file = tmp_path / "prometheus.log"
    with log_file.open("wb") as log, started(command, stdout=log, stderr=log) as process:
        _wait(f"http://127.0.0.1:{port}/-/ready", process, log_file)
        yield Prometheus(f"http://127.0.0.1:{port}")


def _wait(url: str, process: subprocess.Popen[bytes], log: Path) -> None:
    give_up = time.monotonic() + READY_WITHIN_S
    while True:
        try:
            urllib.request.urlopen(url, timeout=5).close()
            return
        except (urllib.error.URLError, OSError):
            assert process.poll() is None and time.monotonic() < give_up, log.read_text()
            time.sleep(0.1)
