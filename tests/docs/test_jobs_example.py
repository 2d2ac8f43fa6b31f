"""The example of docs/jobs.md, as pasted, against a gateway."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.gateway.fake_torchserve import FakeTorchServe
from tests.gateway.served import Gateway, settings_for

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parents[2]


def test_the_example_prints_a_text_for_each_sample(tmp_path: Path) -> None:
    page = (ROOT / "docs" / "jobs.md").read_text(encoding="utf-8")
    (example,) = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    (tmp_path / "spool").mkdir()
    jobs = {"directory": tmp_path / "jobs"}
    with (
        FakeTorchServe(delay_s=0.005) as fake,
        Gateway(settings_for(fake, tmp_path / "spool", jobs=jobs)) as gateway,
    ):
        program = example.replace("http://127.0.0.1:8000", gateway.url)
        assert program != example
        done = subprocess.run(
            [sys.executable, "-c", program],
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=100,
            check=False,
        )
    assert done.returncode == 0, done.stderr
    samples = [path.name for path in (ROOT / "samples").glob("*.wav")]
    lines = done.stdout.splitlines()
    assert f"completed {len(samples)} of {len(samples)}" in lines
    assert sorted(line.split()[0] for line in lines[-len(samples) :]) == sorted(samples)
