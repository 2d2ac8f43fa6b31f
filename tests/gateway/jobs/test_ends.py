"""How a batch ends before its lines do: cancelled, expired."""

from __future__ import annotations

from typing import Any

import openai
import pytest
import sqlalchemy as sa

from gateway.jobs.tables import BATCHES, LINES
from tests.gateway.fake_torchserve import FakeTorchServe
from tests.gateway.jobs.conftest import (
    LIMITS,
    WHOLE,
    held_back,
    line,
    rows,
    stuck,
    submit,
    until,
    upload,
    wait,
)
from tests.gateway.served import Gateway

pytestmark = pytest.mark.slow

PLACES = LIMITS["lines"]
NUM_LINES = 30  # more than the seven batches of a test answer


def at_work(client: openai.OpenAI, audio: str) -> Any:
    """A batch of which some lines are done and most are not, while decoding is stuck."""
    batch = submit(client, [line(str(n), file_id=audio, **WHOLE) for n in range(NUM_LINES)])
    look = until(lambda: client.batches.retrieve(batch.id), lambda one: one.request_counts.completed)
    assert look.status == "in_progress" and look.request_counts.total == NUM_LINES
    return batch


def check_ends(client: openai.OpenAI, done: Any, code: str) -> None:
    """Each line has one answer or one error, and the counts agree with the files."""
    answers, errors = rows(client, done.output_file_id), rows(client, done.error_file_id)
    assert answers.keys() | errors.keys() == {str(n) for n in range(NUM_LINES)}
    assert not answers.keys() & errors.keys() and answers and errors
    assert all(error["error"]["code"] == code and error["response"] is None for error in errors.values())
    assert (done.request_counts.completed, done.request_counts.failed) == (len(answers), len(errors))


def test_a_cancelled_batch_keeps_what_is_done(
    alice: openai.OpenAI, gateway: Gateway, tone_wav: bytes, upstream: FakeTorchServe
) -> None:
    with stuck(upstream):
        batch = at_work(alice, upload(alice, tone_wav))
        assert alice.batches.cancel(batch.id).status == "cancelling"
        assert alice.batches.cancel(batch.id).status != "in_progress", "a second time changes nothing"
        until(lambda: gateway.app.state.jobs.driver.places.num_at_work, lambda count: count == 0)
        assert gateway.service.fleet.stats()["waiting_windows"] == 0, "its windows are gone"
        done = wait(alice, batch.id)
    assert done.status == "cancelled" and done.cancelling_at <= done.cancelled_at
    check_ends(alice, done, "batch_cancelled")


def test_a_batch_is_cancelled_before_it_runs(alice: openai.OpenAI, gateway: Gateway, tone_wav: bytes) -> None:
    with held_back(gateway):
        batch = submit(alice, [line("0", file_id=upload(alice, tone_wav), **WHOLE)])
        wait(alice, batch.id, ["in_progress"])
        alice.batches.cancel(batch.id)
        done = wait(alice, batch.id)
    assert (done.status, done.output_file_id, done.request_counts.failed) == ("cancelled", None, 1)


def test_an_expired_batch_keeps_what_is_done(
    alice: openai.OpenAI, gateway: Gateway, tone_wav: bytes, upstream: FakeTorchServe
) -> None:
    with stuck(upstream):
        batch = at_work(alice, upload(alice, tone_wav))
        with gateway.app.state.jobs.engine.begin() as connection:
            connection.execute(sa.update(BATCHES).where(BATCHES.c.id == batch.id).values(expires_at=1))
        done = wait(alice, batch.id)
    assert done.status == "expired" and done.expired_at is not None
    check_ends(alice, done, "batch_expired")


def test_nothing_of_an_ended_batch_stays_in_the_tables(alice: openai.OpenAI, gateway: Gateway) -> None:
    wait(alice, submit(alice, ["{"]).id)
    with gateway.app.state.jobs.engine.connect() as connection:
        assert connection.execute(sa.select(sa.func.count()).select_from(LINES)).scalar() == 0


def test_the_batches_of_a_key_do_not_delay_those_of_another(
    alice: openai.OpenAI, bob: openai.OpenAI, tone_wav: bytes, upstream: FakeTorchServe
) -> None:
    with stuck(upstream) as let:
        many = at_work(alice, upload(alice, tone_wav))
        one = submit(bob, [line("0", file_id=upload(bob, tone_wav), **WHOLE)])
        wait(bob, one.id, ["in_progress"])
        until(upstream.under_way.total, lambda count: count == PLACES)  # hers: they end with two batches
        let(2 + PLACES)  # his line is one of the next four, which may go one by one
        assert wait(bob, one.id).status == "completed"
        assert alice.batches.retrieve(many.id).request_counts.completed < NUM_LINES
        alice.batches.cancel(many.id)
