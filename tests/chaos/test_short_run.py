"""A short form of `make chaos`: some hundred rows, every kind of blow, and each promise checked at the end."""

import os
from pathlib import Path

import pytest

from trials.blows import BLOWS, draw
from trials.chaos import planned, run
from trials.servers import missing

# One after the other, beside all other tests: each has a database, a broker and half a dozen workers of its own.
pytestmark = pytest.mark.xdist_group("chaos")


# Every kind of blow over RabbitMQ; over Redis those that it may take otherwise.
@pytest.mark.parametrize(
    ("broker", "pool", "seed", "blows"), [("amqp", "prefork", 2, len(BLOWS)), ("redis", "threads", 22, 5)]
)
def test_a_run_that_is_struck_again_and_again_breaks_no_promise(broker: str, pool: str, seed: int, blows: int):
    if reason := missing(broker):
        (pytest.fail if os.environ.get("REQUIRE_SERVICES") == "1" else pytest.skip)(reason)
    outcome = run(planned(seed, rows=30 * blows, broker=broker, pool=pool, blows=blows))
    assert outcome.wrong == [], f"{outcome.line}; details in {outcome.folder}"
    assert not Path(outcome.folder).exists()


def test_a_seed_gives_the_same_blows_again():
    assert draw(7, 12, seconds=30) == draw(7, 12, seconds=30) != draw(8, 12, seconds=30)


def test_the_short_run_over_redis_strikes_its_workers_and_redis_itself():
    struck = {strike.blow for strike in draw(22, 5, seconds=10)}
    assert struck == {"kill-beat", "stop-broker", "kill-worker", "kill-broker", "drop-bells"}


@pytest.mark.parametrize("seed", range(3))
def test_every_kind_of_blow_comes_before_one_comes_again(seed: int):
    assert {strike.blow for strike in draw(seed, len(BLOWS), seconds=10)} == set(BLOWS)
