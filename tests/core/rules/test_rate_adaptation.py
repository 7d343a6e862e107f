"""Finding the rate that a provider really allows, against servers that enforce one by themselves, in simulated time."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from onboarding_worker.core.rules.rate_adaptation import (
    FORGET_FOUND_LIMIT_AFTER,
    LOWEST_SHARE_OF_CONFIGURED,
    Pace,
    adapted,
    counted,
    is_refused_at_lowest,
)
from tests.core.rules.bucket_world import START, Server, World

SECOND = timedelta(seconds=1)
NOW = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)

latencies = st.sampled_from([0.005, 0.02, 0.05, 0.1, 0.2])  # seconds
waits = st.sampled_from([SECOND, None])  # Retry-After


@settings(max_examples=6, deadline=None)
@given(rate=st.integers(20, 50), latency=latencies, wait=waits, workers=st.integers(1, 4), seed=st.integers(0, 99))
def test_when_the_configured_limit_is_twice_the_real_one_the_real_one_is_used_and_few_calls_are_refused(
    rate, latency, wait, workers, seed
):
    world = World(Server(rate, wait), f"{2 * rate}/second", latency=latency, workers=workers, seed=seed)
    world.run(minutes=2)
    assert world.used() >= 0.9
    assert world.refused() <= 0.02


@settings(max_examples=4, deadline=None)
@given(rate=st.integers(20, 50), latency=latencies, wait=waits, workers=st.integers(1, 4))
def test_where_the_configured_limit_is_the_real_one_nothing_changes(rate, latency, wait, workers):
    world = World(Server(rate, wait), f"{rate}/second", latency=latency, workers=workers)
    world.run(minutes=1)
    assert world.used() >= 0.99
    assert world.refused() <= 0.0005
    assert world.rates == []


@settings(max_examples=3, deadline=None)
@given(latency=latencies, wait=waits, seed=st.integers(0, 99))
def test_where_the_configured_limit_is_five_times_too_high_it_comes_down_soon(latency, wait, seed):
    world = World(Server(40, wait), "200/second", latency=latency, seed=seed)
    world.run(minutes=2)
    assert world.used() >= 0.75
    assert world.refused() <= 0.035  # in the worst of the 1,000 cases: 0.0323


def test_several_limits_are_kept_when_the_tightest_of_them_is_too_high():
    world = World(Server(1000 / 60), "100/second", "2000/minute")
    world.run(minutes=2)
    assert world.used() >= 0.9
    assert world.refused() <= 0.02


@pytest.mark.parametrize("share", [0.02, 0.005])
def test_a_provider_that_refuses_some_whatever_the_rate_is_not_slowed_into_the_ground(share):
    server = Server(1e6, refuses=share)
    world, without = World(server, "20/second"), WithoutAdapting(replace_server(server), "20/second")
    world.run(minutes=6)
    without.run(minutes=6)
    assert len(world.server.accepted) >= 0.75 * len(without.server.accepted)


@pytest.mark.parametrize("rate", [27, 80])
def test_however_the_refusals_fall_the_pace_is_never_below_its_floor(rate):
    """With these draws it once was: the second step of a trial, and the small steps after it, ignored the floor."""
    world = World(Server(1e6, refuses=0.03), f"{rate}/second", seed=4)
    world.run(minutes=6)
    assert min(found for _, found in world.rates if found is not None) >= 0.999 * rate * LOWEST_SHARE_OF_CONFIGURED


def test_a_lower_rate_that_did_not_help_is_undone_and_the_share_is_remembered():
    world = World(Server(1e6, refuses=0.02), "50/second", latency=0.05)
    world.run(minutes=2)
    slower = [rate for _, rate in world.rates if rate is not None]
    assert slower, "no lower rate was tried"
    assert (world.state.pace.rate, world.state.pace.trial_rate) == (None, None)
    assert 0.01 < world.state.pace.habit < 0.05
    tried = len(world.rates)
    world.run(minutes=4)
    assert len(world.rates) == tried


def test_when_the_real_limit_is_raised_again_so_is_the_pace():
    world = World(Server(10), "40/second")
    world.run(minutes=2)
    assert world.state.pace.rate < 20
    world.server.rate = 1000
    world.run(minutes=8)
    assert (world.state.pace.rate, world.rates[-1][1]) == (None, None)


def test_an_account_without_a_limit_finds_the_rate_that_is_accepted():
    world = World(Server(40), latency=0.05, permits=10)
    world.run(minutes=2)
    assert world.used() >= 0.9
    assert 30 <= world.state.pace.rate <= 60
    settled = START + timedelta(seconds=30)
    assert world.refused(settled) <= 0.02


def test_an_account_without_a_limit_that_is_never_refused_is_left_alone():
    world = World(Server(1e6), latency=0.05, permits=2, workers=1)
    world.run(seconds=20)
    assert world.state.pace == Pace()


def test_a_single_429_changes_no_pace():
    pace = counted(Pace(), 50.0, granted=20, now=NOW)
    pace = counted(pace, 50.0, refused=1, now=NOW)
    assert adapted(pace, 50.0, now=NOW).rate is None


def test_a_sustained_share_of_refusals_halves_it_and_no_lower_than_the_floor():
    pace, now = Pace(), NOW
    for _ in range(10):
        pace = counted(pace, 50.0, granted=100, refused=30, now=now)
        pace = adapted(pace, 50.0, now=now)
        now += SECOND
    assert pace.rate == pytest.approx(50.0 * LOWEST_SHARE_OF_CONFIGURED)


def test_refusals_fade():
    pace = counted(Pace(), 50.0, granted=100, refused=20, now=NOW)
    for second in range(60):
        pace = counted(pace, 50.0, granted=50, now=NOW + second * SECOND)
    assert pace.refused < 2
    assert pace.share < 0.01


def test_the_limit_found_for_an_account_without_one_is_forgotten_after_an_hour_without_refusals():
    pace = Pace(rate=5.0, refused_at=NOW, raised_at=NOW, counted_at=NOW)
    assert adapted(pace, None, now=NOW + FORGET_FOUND_LIMIT_AFTER / 2).rate is not None
    assert adapted(pace, None, now=NOW + FORGET_FOUND_LIMIT_AFTER) == Pace()


class WithoutAdapting(World):
    """The same world, always at the configured rate."""

    def _claim(self, worker):
        super()._claim(worker)
        self.state = replace(self.state, pace=Pace())


def replace_server(server):
    return Server(server.rate, server.retry_after, server.refuses)


def test_a_rate_that_is_not_used_is_not_raised():
    """Whether a higher rate is allowed would be found out at the next rush, by refusals."""
    found = Pace(rate=10.0, refused_from=40.0, lowered_at=NOW - 60 * SECOND, raised_at=NOW - 10 * SECOND)
    assert adapted(replace(found, granted=49.0), 40.0, now=NOW).rate == 10.0
    assert adapted(replace(found, granted=50.0), 40.0, now=NOW).rate == 12.0


def test_the_share_that_is_refused_whatever_the_rate_is_forgotten_after_ten_minutes():
    pace = Pace(habit=0.1, habit_at=NOW)
    assert adapted(pace, 40.0, now=NOW + timedelta(minutes=9)).habit == 0.1
    assert adapted(pace, 40.0, now=NOW + timedelta(minutes=10)).habit == 0.0


def test_a_found_rate_is_raised_in_small_steps_near_the_refused_one_and_only_where_calls_are_accepted(subtests):
    near = Pace(rate=36.0, refused_from=40.0, granted=400.0, raised_at=NOW - 5 * SECOND, lowered_at=NOW - 30 * SECOND)
    far, close = replace(near, rate=20.0), replace(near, rate=38.5, refused_at=NOW - 30 * SECOND)
    since = replace(far, refused=0.5, refused_at=NOW - SECOND)
    usual = replace(far, habit=0.1, refused=60.0, refused_at=NOW - SECOND)
    for what, pace, rate in [
        ("near", near, 36.72),
        ("near, too soon", replace(near, raised_at=NOW - 4 * SECOND), 36.0),
        ("far", far, 22.0),
        ("far, just raised", replace(far, raised_at=NOW - SECOND), 20.0),
        ("far, up to where it is near", replace(far, rate=33.5), 34.0),
        ("as near as it may be", close, 38.5),
        ("past it after a minute", replace(close, refused_at=NOW - 60 * SECOND), 39.27),
        ("refused at this rate", since, 20.0),
        (
            "refused at this rate a minute ago",
            replace(far, refused_at=NOW - 60 * SECOND, lowered_at=NOW - 90 * SECOND),
            22.0,
        ),
        ("as many as are refused at any rate", usual, 22.0),
        ("more than that", replace(usual, refused=61.0), 20.0),
        ("in a trial", replace(far, trial_rate=40.0, trial_share=0.001), 20.0),
    ]:
        with subtests.test(what=what):
            pace_after = adapted(pace, 100.0, now=NOW)
            assert pace_after.rate == pytest.approx(rate)
    back = adapted(replace(near, habit=0.1), 36.5, now=NOW)
    assert (back.rate, back.habit) == (None, 0.1)  # the configured rate again, and what is refused at any rate


def test_the_real_rate_counts_as_unknown_while_even_the_lowest_one_is_refused(subtests):
    lowest = Pace(rate=4.0, lowered_at=NOW - 90 * SECOND, refused_at=NOW - 59 * SECOND)
    for what, pace, unknown in [
        ("refused lately", lowest, True),
        ("a higher rate", replace(lowest, rate=4.1), False),
        ("a minute ago", replace(lowest, refused_at=NOW - 60 * SECOND), False),
        ("at the rate before", replace(lowest, lowered_at=lowest.refused_at), False),
        ("no rate found", replace(lowest, rate=None), False),
        ("never refused", replace(lowest, refused_at=None), False),
        ("never lowered", replace(lowest, lowered_at=None), False),
    ]:
        with subtests.test(what=what):
            assert is_refused_at_lowest(pace, 40.0, now=NOW) is unknown
