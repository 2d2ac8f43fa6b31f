"""Every command in docs/api.md, run as pasted."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.live.server.calls import Api
from tests.servers import ROOT

COMMANDS = re.findall(r"```sh\n(.*?)```", (ROOT / "docs" / "api.md").read_text(encoding="utf-8"), re.DOTALL)
ADDRESS = "http://127.0.0.1:8080"

pytestmark = [
    pytest.mark.server,
    pytest.mark.skipif(not shutil.which("curl") or not shutil.which("bash"), reason="needs curl and bash"),
]


def test_there_are_commands_for_every_input_form() -> None:
    assert len(COMMANDS) >= 9


@pytest.mark.parametrize("number", range(len(COMMANDS)))
def test_a_documented_command_works(api: Api, speech: bytes, tmp_path: Path, number: int) -> None:
    (tmp_path / "speech.wav").write_bytes(speech)
    assert ADDRESS in COMMANDS[number]
    command = (
        COMMANDS[number].replace(ADDRESS, api.server.url).replace("curl ", "curl --fail-with-body -m 100 ")
    )
    done = subprocess.run(
        ["bash", "-eo", "pipefail", "-c", command], cwd=tmp_path, capture_output=True, timeout=120
    )
    assert done.returncode == 0, done.stdout.decode() + done.stderr.decode()
    assert not done.stderr
