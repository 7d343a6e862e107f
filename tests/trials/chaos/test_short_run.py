"""A short `make chaos`: some hundred rows, every kind of blow, and a check of each promise."""

import os
from pathlib import Path

import pytest

from trials.blows import BLOWS, draw
from trials.chaos import planned, run
from trials.servers import missing

# Each run strikes half of the kinds of blows. The first stops a worker first; the second restores early.
RUNS = (("amqp", "prefork", 1077), ("redis", "threads", 5416))
BLOWS_EACH = 6


@pytest.mark.long
@pytest.mark.parametrize(("broker", "pool", "seed"), RUNS)
def test_a_run_that_is_struck_again_and_again_breaks_no_promise(broker: str, pool: str, seed: int):
    if reason := missing(broker):
        (pytest.fail if os.environ.get("REQUIRE_SERVICES") == "1" else pytest.skip)(reason)
    outcome = run(planned(seed, rows=150, broker=broker, pool=pool, blows=BLOWS_EACH))
    assert outcome.wrong == [], f"{outcome.line}; details in {outcome.folder}"
    assert not Path(outcome.folder).exists()


def test_a_seed_gives_the_same_blows_again():
    assert draw(7, 12, seconds=30) == draw(7, 12, seconds=30) != draw(8, 12, seconds=30)


def test_the_short_runs_strike_every_blow_between_them_and_each_its_broker():
    first, second = ({strike.blow for strike in draw(seed, BLOWS_EACH, seconds=10)} for _, _, seed in RUNS)
    assert first | second == set(BLOWS)
    assert ("kill-broker" in first, "stop-broker" in second) == (True, True)


@pytest.mark.parametrize("seed", range(3))
def test_every_kind_of_blow_comes_before_one_comes_again(seed: int):
    assert {strike.blow for strike in draw(seed, len(BLOWS), seconds=10)} == set(BLOWS)
