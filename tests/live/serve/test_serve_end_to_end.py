"""`./serve.sh` with the bundled demo: to READY, through the pasted curl line, to an empty machine again."""

from __future__ import annotations

import contextlib
import json
import re
import signal
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests

from scripts.serve.torchserve import group_members
from tests.ops.commands import ROOT, caller_environment
from tests.processes import kill_group
from tests.servers import command_line, free_ports
from tests.weights import real_checkpoint

DEMO = ROOT / "whisper-models" / "demo.pt"
PORT_OPTIONS = ("--port", "--management-port", "--metrics-port", "--gateway-port")
SAMPLE = ROOT / "samples" / "harvard.wav"
SAMPLE_TEXT = ROOT / "samples" / "harvard.txt"
HUMAN_TEXT = ROOT / "samples" / "jfk.txt"

pytestmark = [
    pytest.mark.server,
    pytest.mark.skipif(
        not (DEMO.is_file() and SAMPLE_TEXT.is_file()),
        reason="the demo checkpoint or its sample is not there",
    ),
]


def words(text: str) -> list[str]:
    return re.findall(r"\w+", text.lower())


class Running:
    """serve.sh in the foreground of nobody; `said` grows while it runs."""

    def __init__(self, folder: Path, *arguments: str) -> None:
        self.ports = free_ports(4)
        options = zip(PORT_OPTIONS, map(str, self.ports), strict=True)
        own = ("--model-store", "--run-dir", "--log-dir")
        self.log_dir, self.run_dir = folder / "--log-dir", folder / "--run-dir"
        self.process = subprocess.Popen(
            [
                str(ROOT / "serve.sh"),
                *arguments,
                *(word for pair in options for word in pair),
                *(word for option in own for word in (option, str(folder / option))),
            ],
            # a proxy that answers nothing must not come between serve.sh and its own server
            env=caller_environment(TMPDIR=str(folder), http_proxy="http://127.0.0.1:9"),
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        self.said: list[str] = []
        self.ready = threading.Event()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stderr is not None
        for line in self.process.stderr:
            self.said.append(line.rstrip("\n"))
            if "READY" in line or "Ctrl-C stops" in line:
                self.ready.set()
        self.ready.set()  # it ended

    @property
    def java(self) -> int:
        return self.child("org.pytorch.serve.ModelServer")

    @property
    def java_so_far(self) -> int | None:
        """Java's process id, None before it was started."""
        with contextlib.suppress(ValueError):
            return self.java
        return None

    @property
    def gateway(self) -> int:
        return self.child("-m\0gateway")

    def child(self, argument: str) -> int:
        """Process id of the child that has `argument` in its command line."""
        (found,) = [pid for pid in self.children() if argument in command_line(pid)]
        return found

    def children(self) -> list[int]:
        pid = self.process.pid
        return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]

    def wait_for(self, words: str, timeout_s: float = 120) -> None:
        """Returns once it has said a line with these words."""
        deadline = time.monotonic() + timeout_s
        while not any(words in line for line in self.said):
            assert self.process.poll() is None and time.monotonic() < deadline, self.said
            time.sleep(0.1)

    def transcribe(self, timeout_s: float = 120) -> list[str]:
        """The words that the gateway hears in the sample."""
        url = f"http://127.0.0.1:{self.ports[3]}/v1/audio/transcriptions"
        with SAMPLE.open("rb") as file:
            form = {"model": "whisper-1", "response_format": "text"}
            answer = requests.post(url, data=form, files={"file": file}, timeout=timeout_s)
        assert answer.status_code == 200, answer.text
        return words(answer.text)

    def end(self, number: int) -> int:
        """The exit status after a signal."""
        self.process.send_signal(number)
        return self.wait(60)

    def wait(self, timeout_s: float) -> int:
        """The exit status, once all that it said was read."""
        status = self.process.wait(timeout_s)
        self._reader.join(10)
        return status

    def __enter__(self) -> Running:
        return self

    def __exit__(self, *_: object) -> None:
        """Ends it in any case; killed, it takes Java and the gateway along."""
        try:
            if self.process.poll() is None:
                self.end(signal.SIGTERM)
        finally:
            kill_group(self.process)


@pytest.fixture
def running(tmp_path: Path) -> Iterator[Running]:
    with Running(tmp_path, "demo") as started:
        assert started.ready.wait(280), started.said
        assert started.process.poll() is None, started.said
        yield started


def curl_line(said: list[str]) -> str:
    (line,) = [line for line in said if "curl " in line]
    return line.partition("serve.sh:")[2].strip()


def test_demo_from_ready_to_stopped(running: Running) -> None:
    assert any("MODEL demo" in line and "small vocabulary" in line for line in running.said)
    assert any("./serve.sh base " in line for line in running.said)

    running.wait_for("curl ")
    answer = subprocess.run(
        ["bash", "-c", curl_line(running.said)], capture_output=True, text=True, timeout=120, check=True
    )
    assert f":{running.ports[3]}/v1/audio/transcriptions" in curl_line(running.said)
    assert words(answer.stdout) == words(SAMPLE_TEXT.read_text()), answer.stdout

    second = subprocess.run(
        [str(ROOT / "serve.sh"), "demo", "--port", str(running.ports[0])],
        env=caller_environment(), capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert second.returncode == 1
    assert "is in use" in second.stderr

    health = subprocess.run(
        [sys.executable, "-m", "scripts.healthcheck", "--run-dir", str(running.run_dir)],
        cwd=ROOT, capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    assert (health.returncode, health.stdout) == (0, "healthy\n")

    groups = [running.java, running.gateway]
    assert len(group_members(running.java)) == 2
    assert running.end(signal.SIGINT) == 0
    assert running.said[-1] == "serve.sh: stopped"
    assert [group_members(group) for group in groups] == [[], []]
    assert not list(running.run_dir.parent.glob("whisper-*")), "the temporary directory is still there"
    with pytest.raises(urllib.error.URLError):
        urllib.request.urlopen(f"http://127.0.0.1:{running.ports[0]}/ping", timeout=5)


def test_with_keys_the_pasted_line_carries_one(tmp_path: Path) -> None:
    with Running(tmp_path, "demo", "--token-auth", "--no-gateway") as started:
        assert started.ready.wait(280), started.said
        started.wait_for("curl ")
        line = curl_line(started.said)
        key = json.loads((started.run_dir / "key_file.json").read_text())["inference"]["key"]
        assert key not in "".join(started.said), "a key in the log is a key for everybody who reads it"
        answer = subprocess.run(["bash", "-c", line], capture_output=True, text=True, timeout=120, check=True)
        assert words(answer.stdout) == words(SAMPLE_TEXT.read_text())
        assert started.end(signal.SIGTERM) == 0


README_BLOCKS = re.findall(
    r"```(sh|python)\n(.*?)```", (ROOT / "README.md").read_text(encoding="utf-8"), re.DOTALL
)


@pytest.mark.weights
@pytest.mark.slow
def test_base_is_ready_with_a_human_sentence_and_the_readmes_requests_work_as_pasted(tmp_path: Path) -> None:
    """With curl and with OpenAI's own client; everything runs on one server."""
    with Running(tmp_path, str(real_checkpoint("base"))) as started:
        assert started.ready.wait(280), started.said
        started.wait_for("curl ")
        (ready,) = [line for line in started.said if "READY" in line]
        assert "samples/jfk.flac" in ready and words(HUMAN_TEXT.read_text()) == words(
            ready.partition(": '")[2]
        )
        assert {language for language, _ in README_BLOCKS} == {"sh", "python"}
        for language, block in README_BLOCKS:
            assert "http://127.0.0.1:8000" in block
            code = block.replace("127.0.0.1:8000", f"127.0.0.1:{started.ports[3]}")
            command = [sys.executable, "-c", code] if language == "python" else ["bash", "-ec", code]
            done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120)
            assert done.returncode == 0, done.stderr
            assert "ask what you can do for your country" in done.stdout, block
        first = json.loads(ask(README_BLOCKS[0][1], started.ports[3]))
        assert words(first["text"]) == words(HUMAN_TEXT.read_text())
        assert started.end(signal.SIGTERM) == 0


def ask(block: str, port: int) -> str:
    """What a block of the README prints, asked of the server at `port`."""
    code = block.replace("127.0.0.1:8000", f"127.0.0.1:{port}")
    return subprocess.run(["bash", "-ec", code], cwd=ROOT, capture_output=True, text=True, timeout=120).stdout


def test_sigterm_while_it_starts_leaves_nothing(tmp_path: Path) -> None:
    with Running(tmp_path, "demo") as started:
        started.wait_for("starting TorchServe")
        while (group := started.java_so_far) is None:
            assert started.process.poll() is None, started.said
            started.ready.wait(0.05)
        assert started.end(signal.SIGTERM) == 0
    assert group_members(group) == []


def test_sigterm_just_when_torchserve_is_started(tmp_path: Path) -> None:
    with Running(tmp_path, "demo") as started:
        while not any("starting TorchServe" in line for line in started.said):
            assert started.process.poll() is None, started.said
            time.sleep(0.0002)
        assert started.end(signal.SIGTERM) == 0
    assert not any("READY" in line for line in started.said)
