"""Whose window goes next: the policy alone, without I/O or a clock.

There are two levels. Callers share by weight: each pays for its windows in audio seconds divided by its
weight, and the caller that has paid least is served next (start-time fair queueing; Goyal, Vin & Cheng 1996).
The same rule shares one caller's turns among its sessions, with two additions:

- A session begins with credit for `HEAD_START_S` seconds of audio, or half of it if the session is longer.
  So a short request goes first, then the beginning of a long one, then the rest of long ones.
- Every `ELDEST_EVERY`th window of a caller comes from the session that has waited longest. So with n waiting
  sessions, each is served within `ELDEST_EVERY * n` windows of its caller, whatever else arrives.

Every model has a queue of its own. They are neighbours: what a caller pays in one counts in every queue in
which it has a session, so that a caller with two models has no more than one with one. A debt from elsewhere
is bounded, since a small model may be a hundred times as fast as a large one.
"""

from __future__ import annotations

import heapq
from collections import OrderedDict, deque
from collections.abc import Hashable
from dataclasses import dataclass, field
from typing import Generic, TypeVar

MAX_DEBT_S = (
    60.0  # of other queues: a caller waits for at most two windows of others, divided by their weights
)
HEAD_START_S = 60.0  # two full windows: most clips for which a person waits are shorter
ELDEST_EVERY = 4

Item = TypeVar("Item")


@dataclass(slots=True, eq=False)
class _Session(Generic[Item]):
    """One session's waiting windows; `paid` is its place on its caller's scale."""

    paid: float  # audio seconds
    credit: float  # the rest of the head start
    items: deque[tuple[Item, float]] = field(default_factory=deque)  # each with its cost


@dataclass(slots=True, eq=False)
class _Caller(Generic[Item]):
    """One caller's sessions. `now` is virtual time: the smallest amount paid among those that have used up
    their head start."""

    name: str
    weight: float
    paid: float  # audio seconds divided by the weight
    now: float = 0.0
    turns: int = 0
    sessions: dict[Hashable, _Session[Item]] = field(default_factory=dict)
    waiting: OrderedDict[Hashable, None] = field(default_factory=OrderedDict)  # longest wait first
    order: list[tuple[float, int, Hashable]] = field(default_factory=list)  # heap, with outdated entries


class FairQueue(Generic[Item]):
    """A session is opened, pushes its items, and is dropped when it ends."""

    def __init__(self) -> None:
        self.neighbours: tuple[FairQueue[Item], ...] = ()  # queues over which a caller has one weight
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
        """Waiting audio in seconds."""
        return self._cost

    @property
    def has_newcomer(self) -> bool:
        """Whether a session within its head start waits."""
        return any(self._first(caller)[0] < caller.now for caller in self._busy_callers())

    def open(self, session: Hashable, caller: str = "", weight: float = 1.0, audio_s: float = 0.0) -> None:
        """Opens a session; the sessions of one caller share its weight."""
        if weight <= 0:
            raise ValueError(f"the weight of {caller!r} is {weight}, must be above 0")
        owner = self._callers.setdefault(caller, _Caller(caller, weight, self._now))
        owner.weight = weight
        credit = HEAD_START_S if audio_s <= HEAD_START_S else HEAD_START_S / 2
        owner.sessions[session] = _Session(owner.now - credit, credit)
        self._caller_of[session] = owner

    def push(self, session: Hashable, item: Item, cost: float) -> None:
        """Adds the item behind the session's other items."""
        self._add(session, item, cost, again=False)

    def push_again(self, session: Hashable, item: Item) -> None:
        """Puts a popped item back before the session's other items. It has been paid for already."""
        self._add(session, item, 0.0, again=True)

    def pop(self) -> Item | None:
        """The next item; None if none waits."""
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
        for neighbour in self.neighbours:
            neighbour.charge(caller.name, cost / caller.weight)
        self._length -= 1
        self._cost = self._cost - cost if self._length else 0.0
        del caller.waiting[name]
        if session.items:
            self._wait(caller, name)
        if not caller.waiting:
            caller.order.clear()
        return item

    def charge(self, caller: str, paid: float) -> None:
        """Counts what a caller has paid in another queue, if it has a session in this one now."""
        owner = self._callers.get(caller)
        if owner is not None and owner.sessions:
            owner.paid = min(owner.paid + paid, max(owner.paid, self._now + MAX_DEBT_S))

    def drop(self, session: Hashable) -> list[Item]:
        """Forgets the session; returns its waiting items."""
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
            caller.paid = max(caller.paid, self._now)  # an idle caller saves up nothing
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
        """The entry of the waiting session that has paid least. Removes outdated entries before it."""
        while True:
            entry = caller.order[0]
            if entry[2] in caller.waiting and caller.sessions[entry[2]].paid == entry[0]:
                return entry
            heapq.heappop(caller.order)

    def _busy_callers(self) -> list[_Caller[Item]]:
        return [caller for caller in self._callers.values() if caller.waiting]
