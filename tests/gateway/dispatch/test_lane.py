"""How many windows an upstream is given."""

from __future__ import annotations

import pytest

from gateway.dispatch.lane import BUSY_PAUSE_S, FIRST_BACKOFF_S, MAX_BACKOFF_S, MAX_CUTS, Lane, backoff_s
from gateway.settings import UpstreamSettings
from gateway.torchserve.http_client import HttpClient
from gateway.torchserve.upstream import MAX_ANSWER_BYTES, Description, TorchServeUpstream
from tests.gateway.fake_hypotheses import SPEC


def lane(batch_size: int = 16, workers: int = 1) -> Lane:
    upstream = TorchServeUpstream("http://127.0.0.1:1", UpstreamSettings(), HttpClient(1.0, MAX_ANSWER_BYTES))
    made = Lane(upstream, workers, max_batches=3.0, description=Description(SPEC, batch_size))
    made.alive = True
    return made


@pytest.mark.parametrize(("batch_s", "limit"), [(None, 24), (0.05, 48), (0.3, 32), (10.0, 25)])
def test_slow_batches_need_few_windows_waiting(batch_s: float | None, limit: int) -> None:
    slow = lane()
    slow.batch_s = batch_s
    assert (slow.soft_limit, slow.hard_limit) == (limit, 48)


@pytest.mark.parametrize(("batch_s", "most"), [(None, 16), (10.0, 17), (0.3, 24), (0.05, 31)])
def test_jobs_have_one_slow_batch_in_flight_and_two_fast_ones(batch_s: float | None, most: int) -> None:
    one = lane()
    one.batch_s = batch_s
    while one.has_room_for_job(is_live=False):
        one.record_send("job")
    assert one.outstanding == most


def test_the_limit_follows_the_workers() -> None:
    grown = lane(workers=2)
    assert grown.hard_limit == 96
    grown.workers = 3
    assert grown.hard_limit == 144


def test_the_time_of_a_batch_is_learned_from_answers() -> None:
    learning = lane()
    for i in range(100):  # two batches were before each of these, and a third was half done
        learning.record_answer(sent_at=i, now=i + 7.0, ahead=48)
    assert learning.batch_s == pytest.approx(2.0)


def test_refusals_lower_the_limit_once_a_volley_and_answers_raise_it() -> None:
    refused = lane()
    for _ in range(10):
        refused.record_busy(now=100.0)
    assert refused.hard_limit == 24
    assert not refused.has_room(100.0, for_newcomer=True)
    assert refused.has_room(100.0 + BUSY_PAUSE_S, for_newcomer=True)
    for i in range(30):
        refused.record_answer(sent_at=i, now=i + 1, ahead=1)
    assert refused.hard_limit == 48


def test_the_pauses_for_want_of_memory_grow() -> None:
    assert [backoff_s(refusals) / FIRST_BACKOFF_S for refusals in (1, 2, 3, 4)] == [1, 2, 4, 8]
    assert backoff_s(9) == backoff_s(10_000) == MAX_BACKOFF_S


def test_without_memory_the_limit_falls_and_the_pauses_grow_until_a_window_is_decoded() -> None:
    short = lane()
    now = 100.0
    for times, limit in ((1, 24), (2, 12), (3, 6)):
        for _ in range(10):  # one counts, not each of a volley
            short.record_no_memory(sent_at=now - 1, now=now, is_again=times > 1)
        assert short.hard_limit == limit
        assert not short.has_room(now + 0.99 * backoff_s(times), for_newcomer=True)
        now += backoff_s(times)
        assert short.has_room(now, for_newcomer=True)
    assert short.alive, "it answers"
    short.record_answer(sent_at=now, now=now + 1, ahead=1)
    short.record_no_memory(sent_at=now, now=now + 2, is_again=False)
    assert short.paused_until == now + 2 + backoff_s(1)


def test_a_window_without_memory_where_others_are_decoded_slows_nobody_down() -> None:
    guilty = lane()
    guilty.record_no_memory(sent_at=1.0, now=2.0, is_again=False)
    guilty.record_answer(sent_at=2.5, now=3.0, ahead=16)
    limit = guilty.hard_limit
    guilty.record_no_memory(sent_at=3.0, now=4.0, is_again=True)
    assert guilty.hard_limit == limit and guilty.has_room(4.0, for_newcomer=True)


def test_it_always_may_have_one_window() -> None:
    refused = lane()
    for i in range(40):
        refused.record_busy(now=float(i))
    assert refused.hard_limit == 1


def test_cut_connections_in_a_row_mean_that_it_is_gone() -> None:
    cut = lane()
    for _ in range(MAX_CUTS - 1):
        cut.record_cut()
    cut.record_answer(0.0, 1.0, 1)
    for _ in range(MAX_CUTS - 1):
        cut.record_cut()
    assert cut.alive
    cut.record_cut()
    assert not cut.alive


def test_one_death_is_counted_once() -> None:
    died = lane()
    for _ in range(16):
        died.record_death(now=5.0)
    died.record_death(now=9.0)
    assert died.deaths == 2
