"""The example of docs/jobs.md, as pasted."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.gateway.jobs.conftest import ALICE
from tests.gateway.served import Gateway

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parents[3]


def test_the_example_prints_a_text_for_each_sample(gateway: Gateway) -> None:
    page = (ROOT / "docs" / "jobs.md").read_text(encoding="utf-8")
    (example,) = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    program = example.replace("http://127.0.0.1:8000", gateway.url)
    program = program.replace('api_key="none"', f'api_key="{ALICE}"')
    assert gateway.url in program and ALICE in program
    command = [sys.executable, "-c", program]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=100, check=False)
    assert done.returncode == 0, done.stderr
    samples = [path.name for path in (ROOT / "samples").glob("*.wav")]
    lines = done.stdout.splitlines()
    assert f"completed {len(samples)} of {len(samples)}" in lines
    assert sorted(line.split()[0] for line in lines[-len(samples) :]) == sorted(samples)
