"""The policy in simulation: nothing lost, nobody starved, weights kept, the short before the long."""

from __future__ import annotations

import itertools
import random
from collections import Counter
from dataclasses import dataclass, field

from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.dispatch.fair_queue import ELDEST_EVERY, HEAD_START_S, FairQueue

WINDOW_S = 30.0
BATCH = 16


@dataclass
class Visit:
    """A session of a simulation: it comes at a batch and brings its windows at once."""

    name: int
    arrives: int
    windows: int
    caller: str = "one"
    weight: float = 1.0
    left: int = field(init=False)
    finished: int | None = None  # the batch it was done with

    def __post_init__(self) -> None:
        self.left = self.windows


def simulate(visits: list[Visit], batches: int) -> list[list[int]]:
    """The sessions whose windows went into each batch of a server that is never ahead of its queue."""
    queue: FairQueue[int] = FairQueue()
    by_name = {visit.name: visit for visit in visits}
    arriving = sorted(visits, key=lambda visit: visit.arrives)
    history: list[list[int]] = []
    for now in range(batches):
        while arriving and arriving[0].arrives <= now:
            visit = arriving.pop(0)
            queue.open(visit.name, visit.caller, visit.weight)
            for _ in range(visit.windows):
                queue.push(visit.name, visit.name, WINDOW_S)
        batch = [name for _ in range(BATCH) if (name := queue.pop()) is not None]
        history.append(batch)
        for name in batch:
            by_name[name].left -= 1
            if by_name[name].left == 0:
                by_name[name].finished = now
                queue.drop(name)
    return history


def test_short_sessions_do_not_wait_for_long_ones() -> None:
    """Clips arrive in every batch, beside twenty files of an hour: none waits for more than two batches."""
    rng = random.Random(5)
    long = [Visit(i, arrives=0, windows=200) for i in range(20)]
    short = [Visit(100 + i, arrives=10 + i // 4, windows=rng.choice((1, 1, 2))) for i in range(800)]
    simulate(long + short, batches=220)
    waits = [visit.finished - visit.arrives for visit in short if visit.finished is not None]
    assert len(waits) == 800
    assert max(waits) <= 1, "a window that goes with the first or second batch has waited for two at most"
    assert sum(visit.windows - visit.left for visit in long) == 220 * BATCH - sum(v.windows for v in short)


def test_a_long_session_moves_on_while_short_ones_take_everything() -> None:
    """More clips arrive than can be served: their queue grows and grows, and the file still gets turns."""
    long = Visit(0, arrives=0, windows=200)
    flood = [Visit(1 + i, arrives=i // 20, windows=1) for i in range(20 * 50)]
    history = simulate([long, *flood], batches=50)
    turns = [now for now, batch in enumerate(history) if long.name in batch]
    num_waiting = (20 - BATCH) * 50 + 1  # at the end
    bound = ELDEST_EVERY * num_waiting // BATCH
    assert all(after - before <= bound for before, after in itertools.pairwise([*turns, 50]))


def test_thousands_of_sessions_are_all_served() -> None:
    rng = random.Random(11)
    visits = [
        Visit(
            i, arrives=rng.randrange(400), windows=rng.choice((1, 1, 1, 2, 4, 40)), caller=rng.choice("abc")
        )
        for i in range(3000)
    ]
    history = simulate(visits, batches=sum(visit.windows for visit in visits) // BATCH + 450)
    assert Counter(name for batch in history for name in batch) == {v.name: v.windows for v in visits}


def test_callers_share_by_weight_not_by_number_of_sessions() -> None:
    many = [Visit(i, arrives=0, windows=100, caller="many") for i in range(30)]
    heavy = Visit(100, arrives=0, windows=2000, caller="heavy", weight=3.0)
    simulate([*many, heavy], batches=100)
    served = {"many": 3000 - sum(visit.left for visit in many), "heavy": 2000 - heavy.left}
    assert abs(served["heavy"] - 3 * served["many"]) <= 4


def test_an_idle_caller_saves_nothing_up() -> None:
    early = Visit(0, arrives=0, windows=3000, caller="early")
    late = Visit(1, arrives=50, windows=3000, caller="late")
    simulate([early, late], batches=100)
    assert abs((3000 - late.left) - 50 * BATCH / 2) <= 2


def test_equal_sessions_advance_side_by_side() -> None:
    visits = [Visit(i, arrives=0, windows=100) for i in range(7)]
    simulate(visits, batches=20)
    assert max(v.left for v in visits) - min(v.left for v in visits) <= 2


def test_a_short_newcomer_goes_before_a_long_one_and_that_before_the_rest() -> None:
    queue: FairQueue[str] = FairQueue()
    queue.open("old", audio_s=3600.0)
    for _ in range(20):
        queue.push("old", "old", WINDOW_S)
    for _ in range(8):
        queue.pop()
    for name, audio_s in (("long", 3600.0), ("short", 20.0)):
        queue.open(name, audio_s=audio_s)
        queue.push(name, name, 20.0)
    assert [queue.pop() for _ in range(3)] == ["short", "long", "old"]


def test_a_returned_window_goes_first_and_is_paid_once() -> None:
    queue: FairQueue[str] = FairQueue()
    queue.open("a")
    queue.push("a", "first", WINDOW_S)
    queue.push("a", "second", WINDOW_S)
    assert queue.pop() == "first"
    queue.push_again("a", "first")
    assert (len(queue), queue.cost) == (2, WINDOW_S)
    assert [queue.pop(), queue.pop(), queue.pop()] == ["first", "second", None]


def test_only_the_head_start_makes_a_newcomer() -> None:
    queue: FairQueue[str] = FairQueue()
    for name in ("old", "new"):
        queue.open(name)
    for _ in range(10):
        queue.push("old", "old", WINDOW_S)
    assert queue.has_newcomer
    for _ in range(round(HEAD_START_S / WINDOW_S) + 1):
        queue.pop()
    assert not queue.has_newcomer
    queue.push("new", "new", WINDOW_S)
    assert queue.has_newcomer


Step = tuple[str, int]
steps = st.lists(
    st.tuples(st.sampled_from(["push", "pop", "again", "drop"]), st.integers(0, 5)), max_size=200
)


@settings(max_examples=150, deadline=None)
@given(steps)
def test_every_item_comes_out_once_or_is_dropped(script: list[Step]) -> None:
    queue: FairQueue[tuple[int, int]] = FairQueue()
    inside: Counter[tuple[int, int]] = Counter()
    outside: list[tuple[int, int]] = []
    opened: dict[int, int] = {}  # session → its life, to tell one life's items from the next's
    lives = 0
    for i, (what, who) in enumerate(script):
        if what == "push":
            if who not in opened:
                lives += 1
                opened[who] = lives
                queue.open((who, lives), caller=str(who % 2), weight=1.0 + who)
            queue.push((who, opened[who]), (opened[who], i), cost=1.0 + who)
            inside[opened[who], i] += 1
        elif what == "pop":
            item = queue.pop()
            assert (item is None) == (not +inside)
            if item is not None:
                inside[item] -= 1
                outside.append(item)
        elif what == "again" and outside:
            item = outside.pop()
            session = next(((w, life) for w, life in opened.items() if life == item[0]), None)
            if session is not None:
                queue.push_again(session, item)
                inside[item] += 1
        elif what == "drop" and who in opened:
            life = opened.pop(who)
            dropped = queue.drop((who, life))
            assert Counter(dropped) == Counter({k: n for k, n in inside.items() if k[0] == life and n})
            inside -= Counter(dropped)
        assert len(queue) == inside.total()
    while (item := queue.pop()) is not None:
        inside[item] -= 1
    assert not +inside and queue.cost == 0 and not queue.has_newcomer


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 12), st.integers(0, 2**32 - 1))
def test_whoever_waits_is_served_within_the_bound(waiting: int, seed: int) -> None:
    """Whatever newcomers arrive between, a waiting session goes within ELDEST_EVERY windows a session."""
    rng = random.Random(seed)
    queue: FairQueue[int] = FairQueue()
    for name in range(waiting):
        queue.open(name)
        for _ in range(400):
            queue.push(name, name, WINDOW_S)
    last = dict.fromkeys(range(waiting), 0)
    newcomers = waiting
    alive = waiting
    bound = 0
    for turn in range(1, 300):
        if rng.random() < 0.5:
            newcomers += 1
            alive += 1
            queue.open(newcomers)
            queue.push(newcomers, newcomers, rng.uniform(1, WINDOW_S))
        bound = max(bound, ELDEST_EVERY * (alive + 1))
        name = queue.pop()
        assert name is not None
        if name < waiting:
            assert turn - last[name] <= bound
            last[name] = turn
        else:
            queue.drop(name)
            alive -= 1


def served_by_two_models(weight: float, ticks: int) -> Counter[tuple[str, str]]:
    """(caller, model) → windows; "two" uses both models without end, and "one" the second model alone."""
    models: dict[str, FairQueue[str]] = {"first": FairQueue(), "second": FairQueue()}
    models["first"].neighbours, models["second"].neighbours = (models["second"],), (models["first"],)
    for model, caller, its in (("first", "two", weight), ("second", "two", weight), ("second", "one", 1.0)):
        models[model].open(caller, caller, its)
        for _ in range(ticks):
            models[model].push(caller, caller, WINDOW_S)
    served: Counter[tuple[str, str]] = Counter()
    for _ in range(ticks):
        for model, queue in models.items():
            if (caller := queue.pop()) is not None:
                served[caller, model] += 1
    return served


def test_a_caller_with_two_models_has_no_more_than_one_with_one() -> None:
    served = served_by_two_models(weight=1.0, ticks=300)
    assert served["two", "first"] == 300, "nobody else wants it"
    assert served["one", "second"] >= 295
    total = served["two", "first"] + served["two", "second"]
    assert total <= served["one", "second"] * 1.05


def test_a_weight_counts_over_all_models() -> None:
    """With twice the weight it has all of the first model and a third of the second: two to one in all."""
    served = served_by_two_models(weight=2.0, ticks=300)
    total = served["two", "first"] + served["two", "second"]
    assert abs(total / served["one", "second"] - 2) < 0.1
    assert 90 <= served["two", "second"] <= 110


def test_a_debt_from_a_faster_model_is_bounded() -> None:
    """A caller of a model that is a hundred times as fast has its turn soon after it has left that one."""
    slow: FairQueue[str] = FairQueue()
    fast: FairQueue[str] = FairQueue()
    fast.neighbours = (slow,)
    for queue, caller in ((fast, "both"), (slow, "both"), (slow, "other")):
        queue.open(caller, caller)
        for _ in range(1_000):
            queue.push(caller, caller, WINDOW_S)
    for _ in range(1_000):
        fast.pop()
    turns = [slow.pop() for _ in range(12)]
    assert turns[:2] == ["other", "other"]
    assert turns.count("both") >= 4
