"""Whose window goes next: policy alone, without I/O and without a clock.

Two levels. Callers share by weight: each pays for its windows in audio seconds divided by its weight, and who
has paid least is served (start-time fair queueing; Goyal, Vin & Cheng 1996). Among one caller's sessions the
same, with two additions:

- A session begins with credit for `HEAD_START_S` seconds of audio, half of it where it is longer than that:
  so a short request goes first, then the first words of a long one, then what has been served longer.
- Every `ELDEST_EVERY`th window of a caller is of the session that has waited longest. So a session of n that
  wait is served within `ELDEST_EVERY * n` windows of its caller, whatever else arrives: nobody starves.
"""

from __future__ import annotations

import heapq
from collections import OrderedDict, deque
from collections.abc import Hashable
from dataclasses import dataclass, field
from typing import Generic, TypeVar

HEAD_START_S = 60.0  # two full windows: nearly every clip that somebody waits for
ELDEST_EVERY = 4

Item = TypeVar("Item")


@dataclass(slots=True, eq=False)
class _Session(Generic[Item]):
    """One session's windows that wait; `paid` is its place on its caller's scale."""

    paid: float  # audio seconds
    credit: float  # what is left of the head start
    items: deque[tuple[Item, float]] = field(default_factory=deque)  # with what each costs


@dataclass(slots=True, eq=False)
class _Caller(Generic[Item]):
    """One caller's sessions. `now` is what those that are past their head start have paid at least."""

    weight: float
    paid: float  # audio seconds divided by the weight
    now: float = 0.0
    turns: int = 0
    sessions: dict[Hashable, _Session[Item]] = field(default_factory=dict)
    waiting: OrderedDict[Hashable, None] = field(default_factory=OrderedDict)  # since longest first
    order: list[tuple[float, int, Hashable]] = field(default_factory=list)  # heap; old entries stay in it


class FairQueue(Generic[Item]):
    """Sessions are opened, push what they want done, and are dropped when they end."""

    def __init__(self) -> None:
        self._callers: dict[str, _Caller[Item]] = {}
        self._caller_of: dict[Hashable, _Caller[Item]] = {}
        self._now = 0.0  # on the scale of the callers
        self._serial = 0  # first come, first served among equals
        self._length = 0
        self._cost = 0.0

    def __len__(self) -> int:
        return self._length

    @property
    def cost(self) -> float:
        """Audio seconds that wait."""
        return self._cost

    @property
    def has_newcomer(self) -> bool:
        """Whether a session waits that is within its head start."""
        return any(self._first(caller)[0] < caller.now for caller in self._busy_callers())

    def open(self, session: Hashable, caller: str = "", weight: float = 1.0, audio_s: float = 0.0) -> None:
        """Lets the session push; sessions of the same caller share what its weight earns."""
        if weight <= 0:
            raise ValueError(f"the weight of {caller!r} is {weight}, must be above 0")
        owner = self._callers.setdefault(caller, _Caller(weight, self._now))
        owner.weight = weight
        credit = HEAD_START_S if audio_s <= HEAD_START_S else HEAD_START_S / 2
        owner.sessions[session] = _Session(owner.now - credit, credit)
        self._caller_of[session] = owner

    def push(self, session: Hashable, item: Item, cost: float) -> None:
        """Puts the item behind the session's others."""
        self._add(session, item, cost, again=False)

    def push_again(self, session: Hashable, item: Item) -> None:
        """Puts an item that was popped before the session's others; it has been paid for."""
        self._add(session, item, 0.0, again=True)

    def pop(self) -> Item | None:
        """The item that goes next; None if none waits."""
        callers = list(self._busy_callers())
        if not callers:
            return None
        caller = min(callers, key=lambda one: one.paid)
        self._now = max(self._now, caller.paid)
        name = self._next_session(caller)
        session = caller.sessions[name]
        item, cost = session.items.popleft()
        session.paid += cost
        session.credit = max(0.0, session.credit - cost)
        caller.paid += cost / caller.weight
        self._length -= 1
        self._cost = self._cost - cost if self._length else 0.0
        del caller.waiting[name]
        if session.items:
            self._wait(caller, name)
        if not caller.waiting:
            caller.order.clear()
        return item

    def drop(self, session: Hashable) -> list[Item]:
        """Forgets the session; returns what it still had waiting."""
        caller = self._caller_of.pop(session, None)
        if caller is None:
            return []
        items = caller.sessions.pop(session).items
        caller.waiting.pop(session, None)
        self._length -= len(items)
        self._cost = self._cost - sum(cost for _, cost in items) if self._length else 0.0
        self._callers = {
            name: one for name, one in self._callers.items() if one.sessions or one.paid > self._now
        }
        return [item for item, _ in items]

    def _add(self, name: Hashable, item: Item, cost: float, *, again: bool) -> None:
        caller = self._caller_of[name]
        session = caller.sessions[name]
        if not caller.waiting:
            caller.paid = max(caller.paid, self._now)  # what was left unused while idle is gone
        (session.items.appendleft if again else session.items.append)((item, cost))
        self._length += 1
        self._cost += cost
        if name not in caller.waiting:
            session.paid = max(session.paid, caller.now - session.credit)
            self._wait(caller, name)

    def _wait(self, caller: _Caller[Item], name: Hashable) -> None:
        self._serial += 1
        caller.waiting[name] = None
        heapq.heappush(caller.order, (caller.sessions[name].paid, self._serial, name))

    def _next_session(self, caller: _Caller[Item]) -> Hashable:
        caller.turns += 1
        if caller.turns % ELDEST_EVERY == 0:
            return next(iter(caller.waiting))
        paid, _, name = self._first(caller)
        caller.now = max(caller.now, paid)
        return name

    def _first(self, caller: _Caller[Item]) -> tuple[float, int, Hashable]:
        """The entry of the waiting session that has paid least; entries that no longer hold are removed."""
        while True:
            entry = caller.order[0]
            if entry[2] in caller.waiting and caller.sessions[entry[2]].paid == entry[0]:
                return entry
            heapq.heappop(caller.order)

    def _busy_callers(self) -> list[_Caller[Item]]:
        return [caller for caller in self._callers.values() if caller.waiting]
