"""A short `make events`: some hundred messages of every kind and story, and one kill of each process."""

import os
from datetime import UTC, datetime
from pathlib import Path

import pytest

from trials.events.programme import drawn
from trials.events.run import Plan, run
from trials.servers import missing

NOON = datetime(2026, 11, 20, 12, tzinfo=UTC)


@pytest.mark.long
@pytest.mark.parametrize("broker", ["amqp", "redis"])
def test_every_event_is_stored_once_and_all_else_refused_while_everything_dies(broker: str):
    if reason := missing(broker):
        (pytest.fail if os.environ.get("REQUIRE_SERVICES") == "1" else pytest.skip)(reason)
    outcome = run(Plan(seed=11, events=400, refused=70, broker=broker, prefetch=20))
    assert outcome.wrong == [], f"{outcome.line}; details in {outcome.folder}"
    assert not Path(outcome.folder).exists()


def test_a_seed_gives_the_same_messages_again():
    first, again, other = (drawn(200, seed, now=NOON, trap=Path("trap"), redis=True) for seed in (7, 7, 8))
    assert (first.before, first.during, first.posted) == (again.before, again.during, again.posted)
    assert first.before != other.before


def test_the_short_run_has_every_kind_of_rubbish_once():
    programme = drawn(400, 11, now=NOON, trap=Path("trap"), redis=True, refused=70)
    kinds = [name for name, _ in programme.refused]
    assert len({message.body for _, message in programme.refused}) == len(kinds)
    assert {"a pickle", "bare: null", "too large", "a conflict"} <= set(kinds)
    assert kinds.count("cut off") == 1
