"""A gateway of an earlier commit, killed in the middle of a batch, and the present one on its directory."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import openai
import pytest

from tests.gateway.fake_torchserve import FakeTorchServe
from tests.gateway.jobs.conftest import WHOLE, line, rows, stuck, submit, until, upload, wait
from tests.gateway.jobs.test_killed import client_of, kill
from tests.gateway.process.running import ROOT, GatewayProcess

pytestmark = pytest.mark.slow

COMMIT = os.environ.get("JOBS_UPGRADE_FROM", "HEAD~1")
NUM_LINES = 12


@pytest.fixture(scope="module")
def before(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The files of the commit before, or of $JOBS_UPGRADE_FROM."""
    git = ["git", "-C", str(ROOT)]
    known = subprocess.run([*git, "rev-parse", "--verify", f"{COMMIT}^{{commit}}"], capture_output=True)
    if known.returncode != 0:
        pytest.skip(f"there is no commit {COMMIT} here: no git, or a checkout of one commit")
    folder = tmp_path_factory.mktemp("before")
    packed = folder / "files.tar"
    subprocess.run([*git, "archive", "--output", str(packed), COMMIT, "gateway", "asr"], check=True)
    subprocess.run(["tar", "-xf", str(packed), "-C", str(folder)], check=True)
    return folder


def test_a_batch_goes_on_after_an_upgrade(before: Path, tone_wav: bytes, tmp_path: Path) -> None:
    jobs = {"jobs__directory": tmp_path, "jobs__lines": 2}
    asked = {"Idempotency-Key": "night"}
    with FakeTorchServe(delay_s=0.005, keep_windows=False) as fake:
        old = GatewayProcess(fake.url, root=before, **jobs).__enter__()
        try:
            with client_of(old) as client, stuck(fake):
                made, num_done = half_done(client, tone_wav, asked)
                kill(old)
        finally:
            kill(old)
        with GatewayProcess(fake.url, **jobs) as new, client_of(new) as client:
            check_went_on(client, made, num_done)
            again = client.batches.create(
                input_file_id=made.input_file_id,
                endpoint=made.endpoint,
                completion_window="24h",
                extra_headers=asked,
            )
            assert again.id == made.id, "an Idempotency-Key is known after the upgrade"


def half_done(
    client: openai.OpenAI, tone_wav: bytes, headers: dict[str, str]
) -> tuple[openai.types.Batch, int]:
    """A batch while decoding is stuck, and how many of its lines are done."""
    audio = upload(client, tone_wav)
    lines = [line(str(n), file_id=audio, **WHOLE) for n in range(NUM_LINES)]
    made = submit(client, lines, extra_headers=headers)
    look = until(lambda: client.batches.retrieve(made.id), lambda one: one.request_counts.completed)
    assert 0 < look.request_counts.completed < NUM_LINES
    return made, look.request_counts.completed


def check_went_on(client: openai.OpenAI, made: openai.types.Batch, num_done: int) -> None:
    """Each line was answered once, and those that were done are not done again."""
    first = client.batches.retrieve(made.id).request_counts
    assert first is not None and first.completed >= num_done
    done = wait(client, made.id)
    assert done.status == "completed", done.errors
    assert (done.request_counts.completed, done.request_counts.failed) == (NUM_LINES, 0)
    assert rows(client, done.output_file_id).keys() == {str(n) for n in range(NUM_LINES)}
    assert [batch.id for batch in client.batches.list()] == [made.id]
