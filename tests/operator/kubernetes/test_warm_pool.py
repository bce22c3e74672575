"""The warm pool has the size that presence and queue ask for, and keeps calm."""

import math
import random
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pytest

from services.operator.kubernetes.warm_pool import LONGEST_GAP_S, Demand, Needs, demand, needed
from services.operator.settings import OperatorSettings, buffer
from shared.contract import Presence
from shared.errors import SettingsError
from shared.settings import load
from tests.presences import a_presence

COOLDOWN_S = 300.0


def settings(**values: Any) -> OperatorSettings:
    return OperatorSettings(**{"warm_min": 1, "warm_max": 100, "warm_buffer": "2,25%", **values})


def runner(**values: Any) -> Presence:
    return a_presence(**{"slots": 4, "free": 0, **values})


def asked(busy: int, waiting: int = 0, slots: int = 1) -> Demand:
    return Demand(busy=busy, waiting=waiting, slots_per_runner=slots, present=1)


@pytest.mark.parametrize(
    ("text", "found"),
    [("2,25%", (2, 25)), ("2, 25 %", (2, 25)), ("25%", (0, 25)), ("3", (3, 0)), ("0", (0, 0)), ("0%", (0, 0))],
)
def test_a_buffer_is_a_number_a_percentage_or_both(text: str, found: tuple[int, int]) -> None:
    assert buffer(text) == found


@pytest.mark.parametrize("text", ["", ",", "a", "2,25", "25%,2", "-1", "2;25%", "225%%", "2.5"])
def test_anything_else_is_refused_with_what_was_expected(text: str) -> None:
    with pytest.raises(ValueError, match="expected a number of slots"):
        buffer(text)
    if text:
        with pytest.raises(SettingsError, match="WARM_BUFFER: expected a number of slots"):
            load(OperatorSettings, {"WARM_BUFFER": text})


def test_a_smallest_number_above_the_largest_is_refused_by_name() -> None:
    with pytest.raises(SettingsError, match="WARM_MIN: expected at most WARM_MAX, 2, got 3"):
        load(OperatorSettings, {"WARM_MIN": "3", "WARM_MAX": "2"})
    assert load(OperatorSettings, {"WARM_MIN": "3", "WARM_MAX": "0"}).warm_max == 0


@pytest.mark.parametrize(
    ("values", "want", "replicas"),
    [
        pytest.param({}, asked(0), 2, id="an idle fleet has its buffer"),
        pytest.param({}, asked(4), 6, id="the number counts where it is larger"),
        pytest.param({}, asked(40), 50, id="the percentage counts where it is larger"),
        pytest.param({}, asked(9), 12, id="a part of a slot is a slot"),
        pytest.param({}, asked(3, slots=4), 2, id="slots are spread over runners"),
        pytest.param({}, asked(3, waiting=5), 10, id="what waits needs a place"),
        pytest.param({"warm_max": 5}, asked(40), 5, id="never more than the largest number"),
        pytest.param({"warm_min": 7}, asked(0), 7, id="never fewer than the smallest number"),
        pytest.param({"warm_min": 0, "warm_buffer": "0"}, asked(0), 0, id="down to none"),
        pytest.param({"warm_min": 0, "warm_buffer": "50%"}, asked(0), 0, id="half of nothing is nothing"),
    ],
)
def test_how_many_runners_a_demand_needs(values: Any, want: Demand, replicas: int) -> None:
    assert needed(want, settings(**values)) == replicas


def test_draining_and_cold_runners_are_no_part_of_the_warm_pool() -> None:
    runners = [
        runner(busy=3),
        runner(busy=1, state="starting"),
        runner(busy=4, state="draining"),
        runner(busy=1, start="cold", slots=1),
    ]
    found = demand(runners, agents=[""], waiting=5, coming=2, slots=9)
    assert found == Demand(busy=4, waiting=3, slots_per_runner=4, present=2)


def test_runners_of_other_agents_alone_are_no_part_of_this_warm_pool() -> None:
    """Their own operators keep their own Deployment."""
    runners = [
        runner(busy=3, agents=("", "sales")),
        runner(busy=1, agents=("sales", "support")),
        runner(busy=9, slots=16, agents=("support",)),
    ]
    found = demand(runners, agents=["sales"], waiting=0, coming=0, slots=9)
    assert found == Demand(busy=4, waiting=0, slots_per_runner=4, present=2)


def test_without_a_runner_the_setting_says_how_many_slots_one_has() -> None:
    assert demand([], agents=[""], waiting=1, coming=4, slots=9) == Demand(
        busy=0, waiting=0, slots_per_runner=9, present=0
    )


def sizes(need: Callable[[int], int], until_s: int, *, replicas: int, since_s: int = 0, needs: Needs) -> int:
    """The size after one look per second, each of which is obeyed."""
    for now in range(since_s, until_s + 1):
        replicas = needs.target(need(now), replicas, float(now))
    return replicas


def test_more_runners_come_at_once() -> None:
    assert Needs(COOLDOWN_S).target(5, 2, 0.0) == 5


def test_fewer_runners_are_not_enough_before_a_whole_cooldown_has_been_seen() -> None:
    needs = Needs(COOLDOWN_S)
    assert sizes(lambda _: 2, 299, replicas=5, needs=needs) == 5
    assert needs.target(2, 5, 300.0) == 2


def test_a_need_within_the_cooldown_keeps_as_many_as_it_needed() -> None:
    needs = Needs(COOLDOWN_S)
    assert sizes(lambda now: 4 if now < 100 else 2, 398, replicas=9, needs=needs) == 4
    assert needs.target(2, 4, 399.0) == 2


def test_a_need_of_earlier_does_not_raise_the_number_again() -> None:
    needs = Needs(COOLDOWN_S)
    needs.target(9, 9, 0.0)
    assert sizes(lambda _: 2, 299, replicas=5, since_s=1, needs=needs) == 5


def test_what_another_operator_has_added_is_not_taken_away_before_a_cooldown() -> None:
    """One operator saw a need for a moment, and added a runner; another looked before and after that moment."""
    needs = Needs(COOLDOWN_S)
    assert sizes(lambda _: 2, 400, replicas=2, needs=needs) == 2
    assert sizes(lambda _: 2, 700, replicas=3, since_s=401, needs=needs) == 3
    assert needs.target(2, 3, 701.0) == 2


def test_a_gap_in_what_was_seen_begins_the_cooldown_anew() -> None:
    needs = Needs(COOLDOWN_S)
    assert sizes(lambda _: 2, 299, replicas=5, needs=needs) == 5
    assert needs.target(2, 5, 299 + LONGEST_GAP_S + 1) == 5


def test_what_is_not_the_whole_picture_takes_nobody_away() -> None:
    needs = Needs(COOLDOWN_S)
    assert sizes(lambda _: 2, 299, replicas=5, needs=needs) == 5
    needs.forget()
    assert needs.target(0, 5, 300.0) == 5
    assert needs.target(6, 5, 301.0) == 6


def test_without_a_cooldown_fewer_are_taken_as_they_come() -> None:
    needs = Needs(0.0)
    assert [needs.target(5, 5, 0.0), needs.target(2, 5, 1.0)] == [5, 2]


def test_an_operator_that_has_just_started_takes_nobody_away_and_adds_what_the_others_would_add() -> None:
    old, young = Needs(COOLDOWN_S), Needs(COOLDOWN_S)
    assert sizes(lambda now: 6 if now < 250 else 3, 500, replicas=8, needs=old) == 6
    assert sizes(lambda _: 3, 500, replicas=8, since_s=450, needs=young) == 8
    assert (old.target(7, 6, 501.0), young.target(7, 6, 501.0)) == (7, 7)


@dataclass
class Runner:
    """A simulated warm runner."""

    ready_at: float
    ends: list[float] = field(default_factory=list)
    draining: bool = False


class Day:
    """A fleet with virtual time: traffic, several operators that each look every few seconds, and Pods that take time.

    Operators see the size as it was a moment ago, as a watch does, and look at different moments.
    """

    START_S = 25.0
    COLD_S = 20.0
    SLOTS = 4

    def __init__(self, operators: int, seed: int, configuration: OperatorSettings) -> None:
        self.random = random.Random(seed)  # noqa: S311
        self.settings = configuration
        self.operators = [Needs(configuration.warm_cooldown_s) for _ in range(operators)]
        self.runners = [Runner(ready_at=0.0)]
        self.changes: list[tuple[float, int, int]] = []
        self.cold: list[float] = []
        self.hits = self.misses = 0
        self.sizes: list[int] = []

    def rate(self, now: float) -> float:
        """Sessions per second: quiet at night, two busy times, and a sudden rush at ten."""
        hour = now / 3600
        waves = math.exp(-(((hour - 11) / 2.5) ** 2)) + 0.8 * math.exp(-(((hour - 16) / 2) ** 2))
        return 0.002 + 0.12 * waves + (0.3 if 10.0 <= hour < 10.1 else 0.0)

    def run(self) -> None:
        for now in range(24 * 3600):
            self._end(now)
            for _ in range(self._arrivals(now)):
                self._serve(now)
            for number, needs in enumerate(self.operators):
                if (now + number) % 3 == 0:
                    self._operate(needs, now)
            self.sizes.append(len(self._members()))

    def _members(self) -> list[Runner]:
        return [runner for runner in self.runners if not runner.draining]

    def _arrivals(self, now: float) -> int:
        count, left = 0, self.random.expovariate(self.rate(now))
        while left < 1:
            count, left = count + 1, left + self.random.expovariate(self.rate(now))
        return count

    def _end(self, now: float) -> None:
        for one in self.runners:
            one.ends = [end for end in one.ends if end > now]
        self.runners = [one for one in self.runners if one.ends or not one.draining]
        self.cold = [ready for ready in self.cold if ready > now]

    def _serve(self, now: float) -> None:
        ends = now + self.random.expovariate(1 / 240)
        free = [one for one in self._members() if one.ready_at <= now and len(one.ends) < self.SLOTS]
        if free:
            self.hits += 1
            self.random.choice(free).ends.append(ends)
        else:
            self.misses += 1
            self.cold.append(now + self.COLD_S)

    def _operate(self, needs: Needs, now: float) -> None:
        told = [
            runner(busy=len(one.ends), state="draining" if one.draining else "ready")
            for one in self.runners
            if one.ready_at <= now
        ]
        cold = len(self.cold)
        need = needed(demand(told, agents=[""], waiting=cold, coming=cold, slots=4), self.settings)
        members = self._members()
        target = needs.target(need, len(members), now)
        if target == len(members):
            return
        self.changes.append((now, len(members), target))
        for one in self.random.sample(members, max(len(members) - target, 0)):
            one.draining = True
        self.runners += [Runner(ready_at=now + self.START_S) for _ in range(target - len(members))]


def test_a_day_of_traffic_is_served_warm_and_the_size_does_not_flap(tell: Callable[..., None]) -> None:
    configuration = settings(warm_min=1, warm_max=14, warm_cooldown_s=COOLDOWN_S)
    day = Day(3, 7, configuration)
    day.run()
    up = [now for now, before, after_ in day.changes if after_ > before]
    down = [now for now, before, after_ in day.changes if after_ < before]
    mean = sum(day.sizes) / len(day.sizes)
    served = day.hits / (day.hits + day.misses)
    tell(
        f"{day.hits} warm, {day.misses} cold ({served:.1%} warm); runners {min(day.sizes)} to {max(day.sizes)}, mean "
        f"{mean:.1f} (always the most: {max(day.sizes)}); {len(up)} times more, {len(down)} times fewer",
        under="A day of traffic, simulated, three operators:",
    )
    assert max(day.sizes) <= configuration.warm_max
    assert min(day.sizes) >= configuration.warm_min
    assert served > 0.97
    assert mean < max(day.sizes) / 2
    # What is taken away was not needed for a whole cooldown: it is never taken soon after something was added.
    assert all(not any(0 <= low - high < COOLDOWN_S for high in up) for low in down)
    assert len(day.changes) < 24 * 12
