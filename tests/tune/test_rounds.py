"""The search over invented machines: what it measures, how often, and which settings win."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from tests.tune.samples import sample
from tune.configurations import Configuration, Space
from tune.measurements import Cell, Failure, Sample
from tune.recordings import Words
from tune.rounds import NO_TIME, Search

FORMATS = (("torch", "float32"), ("onnxruntime", "float32"), ("onnxruntime", "weights_int8"))
TODAY = Configuration("onnxruntime", "float32", 2, 8)
SPACE = Space(FORMATS, threads=2, batches=(1, 4, 8), today=TODAY)


class Silent:
    def starts(self, stage: str, configuration: Configuration) -> None: ...
    def expect(self, left: int) -> None: ...
    def done(self) -> None: ...


@dataclass
class Machine:
    """Measures what `speed` says, ten seconds each."""

    speed: Callable[[Configuration], float | Failure]
    asked: list[Configuration] = field(default_factory=list)
    now: float = 0.0
    others_s: Callable[[int], float] = lambda number: 0.0

    def measure(self, configuration: Configuration) -> Sample | Failure:
        self.asked.append(configuration)
        self.now += 10
        found = self.speed(configuration)
        if isinstance(found, Failure):
            return found
        wrong = "wrong" if configuration.numbers == "weights_int8" else ""
        others = self.others_s(len(self.asked))
        return sample(found, texts={"clip": wrong}, others_s=others)

    def search(self, budget_s: float = 10_000, wrong: int = 0) -> tuple[Search, Cell | None]:
        def count(texts: Mapping[str, str]) -> Words:
            return Words(20 + (wrong if texts["clip"] else 0), 200)

        search = Search(SPACE, self.measure, count, Words(20, 200), Silent(), budget_s, lambda: self.now)
        return search, search.run()


def by_format(**speeds: float) -> Callable[[Configuration], float]:
    """Speed by backend; half with one thread, and a tenth off for each window less in a batch."""

    def speed(one: Configuration) -> float:
        return speeds[f"{one.backend}_{one.numbers}"] * (one.threads / 2) * (0.9 if one.batch == 1 else 1)

    return speed


ALIKE = {"torch_float32": 10, "onnxruntime_float32": 10, "onnxruntime_weights_int8": 10}


def test_where_nothing_is_faster_todays_settings_win() -> None:
    search, winner = Machine(by_format(**ALIKE)).search()
    assert winner is search.cells[TODAY]
    assert search.cells[Configuration("torch", "float32", 2, 8)].loses.startswith("no clear difference")


def test_the_fastest_format_wins() -> None:
    _, winner = Machine(by_format(**(ALIKE | {"onnxruntime_weights_int8": 14}))).search()
    assert winner is not None
    assert winner.configuration == Configuration("onnxruntime", "weights_int8", 2, 8)


def test_a_format_with_other_words_is_out_however_fast() -> None:
    machine = Machine(by_format(**(ALIKE | {"onnxruntime_weights_int8": 40})))
    search, winner = machine.search(wrong=1)
    assert winner is search.cells[TODAY]
    int8 = Configuration("onnxruntime", "weights_int8", 2, 8)
    assert search.cells[int8].loses == "1 more of 200 words wrong"
    assert machine.asked.count(int8) == 1


def test_a_crash_is_a_loser_with_a_reason_and_the_search_goes_on() -> None:
    def speed(one: Configuration) -> float | Failure:
        return Failure("crashed by SIGILL") if one.backend == "onnxruntime" else 10.0

    search, winner = Machine(speed).search()
    assert winner is not None
    assert winner.configuration.backend == "torch"
    assert search.cells[TODAY].loses == "crashed by SIGILL"


def test_a_winner_that_crashes_in_the_end_is_none() -> None:
    int8 = Configuration("onnxruntime", "weights_int8", 2, 8)
    speeds = by_format(**(ALIKE | {"onnxruntime_weights_int8": 14}))

    def speed(one: Configuration) -> float | Failure:
        return Failure("crashed by SIGKILL") if machine.asked.count(one) > 3 and one == int8 else speeds(one)

    machine = Machine(speed)
    search, winner = machine.search()
    assert search.cells[int8].loses == "crashed by SIGKILL"
    assert winner is not None
    assert winner.configuration != int8
    assert not winner.loses


def test_what_is_far_behind_is_measured_once() -> None:
    machine = Machine(by_format(**(ALIKE | {"torch_float32": 5})))
    search, _ = machine.search()
    torch = Configuration("torch", "float32", 2, 8)
    assert machine.asked.count(torch) == 1
    assert search.cells[torch].loses == "0.50 of the fastest's speed after 1 round"


def test_rounds_are_interleaved() -> None:
    machine = Machine(by_format(**ALIKE))
    machine.search()
    most = Counter(machine.asked)
    assert max(most.values()) >= 3
    twice_running = [
        one for one, next_one in zip(machine.asked, machine.asked[1:], strict=False) if one == next_one
    ]
    assert twice_running == []


def test_the_winner_is_improved_axis_by_axis() -> None:
    def speed(one: Configuration) -> float:
        faster = 1.3 if one.spinning == "never" else 1.0
        faster *= 1.3 if one.batch == 4 else 1.0
        return 10 * faster * (1.2 if one.backend == "onnxruntime" else 1.0) * one.threads / 2

    _, winner = Machine(speed).search()
    assert winner is not None
    assert winner.configuration == Configuration("onnxruntime", "float32", 2, 4, spinning="never")


def test_a_disturbed_measurement_is_made_again() -> None:
    machine = Machine(by_format(**ALIKE), others_s=lambda number: 15.0 if number == 1 else 0.0)
    search, _ = machine.search()
    assert machine.asked[0] == machine.asked[1]
    first = search.cells[machine.asked[0]]
    assert not first.is_disturbed
    assert all(each.others_s == 0 for each in first.samples)


def test_a_machine_that_is_never_quiet_gets_an_answer_that_says_so() -> None:
    machine = Machine(by_format(**ALIKE), others_s=lambda number: 15.0)
    _, winner = machine.search()
    assert winner is not None
    assert winner.is_disturbed
    quiet = Machine(by_format(**ALIKE))
    quiet.search()
    assert len(machine.asked) <= len(quiet.asked) + 10


def test_the_budget_is_kept_and_what_was_not_measured_says_so() -> None:
    machine = Machine(by_format(**ALIKE))
    search, winner = machine.search(budget_s=205)
    assert machine.now <= 205
    assert winner is search.cells[TODAY]
    never = search.cells[Configuration("onnxruntime", "float32", 1, 8)]
    assert (never.samples, never.loses) == ([], NO_TIME)


def test_too_little_time_for_three_rounds_decides_nothing() -> None:
    _, winner = Machine(by_format(**ALIKE)).search(budget_s=100)
    assert winner is None
