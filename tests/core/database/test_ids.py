"""Ids are made before their rows: unique, ordered by time, and not to be guessed."""

import uuid
from datetime import UTC, datetime, timedelta

from hypothesis import example, given
from hypothesis import strategies as st

from onboarding_worker.core.database.job_ids import guessable_ids, new_id, new_ids

NOW = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)


def test_an_id_is_a_version_7_uuid_of_rfc_9562():
    made = [new_id(NOW) for _ in range(200)] + new_ids(NOW, 200)
    assert {item.version for item in made} == {7}
    assert {item.variant for item in made} == {uuid.RFC_4122}


def test_a_rehearsal_makes_the_same_ids_again_and_nothing_else_does():
    def zeros(size):
        return bytes(size)

    with guessable_ids(zeros):
        first, second = new_ids(NOW, 2)
    assert first == second
    assert first.int & (2**62 - 1) == 0
    assert new_id(NOW) != first


def test_an_id_contains_its_millisecond():
    assert new_id(NOW).int >> 80 == int(NOW.timestamp()) * 1000
    for ahead in range(1000):
        moment = NOW + timedelta(milliseconds=ahead)
        assert new_id(moment).int >> 80 == int(NOW.timestamp()) * 1000 + ahead


@example(datetime(2026, 11, 20, 12, 0, 0, 1000, tzinfo=UTC))
@example(datetime(2026, 11, 20, 12, 0, 0, 9000, tzinfo=UTC))
@given(st.datetimes(min_value=datetime(1970, 1, 2), max_value=datetime(9000, 1, 1), timezones=st.just(UTC)))  # noqa: DTZ001 -- hypothesis wants naive bounds
def test_a_later_id_sorts_after_an_earlier_one(moment):
    assert new_id(moment).int >> 80 < new_id(moment + timedelta(milliseconds=1)).int >> 80
    assert new_id(moment) < new_id(moment + timedelta(milliseconds=1))
    assert str(new_id(moment)) < str(new_id(moment + timedelta(milliseconds=1)))


def test_ids_of_one_moment_differ_and_use_all_their_random_bits():
    made = [new_id(NOW).int for _ in range(2500)] + [one.int for one in new_ids(NOW, 2500)]
    assert len(set(made)) == 5000
    seen_set = seen_clear = 0
    for value in made:
        seen_set |= value
        seen_clear |= ~value
    random_bits = (2**12 - 1) << 64 | (2**62 - 1)
    assert seen_set & random_bits == random_bits
    assert seen_clear & random_bits == random_bits
