"""How much life a link must have when it is sent."""

from datetime import UTC, datetime, timedelta

import pytest

from onboarding_worker.core.model.sessions import (
    ExpirySource,
    Session,
    default_floor,
    floor_of,
    max_age_of,
    never_fresh,
)

NOW = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)
FLOOR = timedelta(hours=12)


def test_the_floor_is_half_the_lifetime_and_at_most_twelve_hours(subtests):
    for lifetime, floor in [
        (timedelta(days=7), timedelta(hours=12)),
        (timedelta(hours=24), timedelta(hours=12)),
        (timedelta(hours=1), timedelta(minutes=30)),
        (timedelta(seconds=60), timedelta(seconds=30)),
        (None, timedelta(minutes=10)),
    ]:
        with subtests.test(lifetime=lifetime, floor=floor):
            assert default_floor(lifetime) == floor
            assert floor_of(None, lifetime=lifetime) == floor
            assert floor_of(timedelta(hours=2), lifetime=lifetime) == timedelta(hours=2)


@pytest.mark.parametrize(
    ("lifetime", "max_age"),
    [(timedelta(days=1), timedelta(hours=12)), (timedelta(hours=3), timedelta(0)), (None, timedelta(0))],
)
def test_a_link_keeps_what_its_life_is_longer_than_the_floor(lifetime, max_age):
    assert max_age_of(lifetime, floor=FLOOR) == max_age


@pytest.mark.parametrize(
    ("freshness", "lifetime", "never"),
    [
        (FLOOR, FLOOR, True),
        (FLOOR, FLOOR + timedelta(seconds=1), False),
        (None, FLOOR, False),
        (None, timedelta(0), True),
        (FLOOR, None, False),
    ],
)
def test_a_floor_that_is_no_shorter_than_the_lifetime_lets_no_link_leave(freshness, lifetime, never):
    assert never_fresh(freshness, lifetime=lifetime) is never


def test_a_lists_external_ref_is_no_lasting_reference(subtests):
    for references, lasting in [
        ({"externalRef": "Ona Ltd", "companyId": "k-7", "clientId": "C-1"}, "k-7"),
        ({"externalRef": "Ona Ltd", "clientId": "C-1"}, "C-1"),
        ({"externalRef": "Ona Ltd"}, ""),
        ({"companyId": "Ona Ltd", "clientId": "C-1"}, "Ona Ltd"),
        ({}, "Ona Ltd"),
    ]:
        with subtests.test(references=references, lasting=lasting):
            session = Session(
                "t0ken", "https://verify.test", "Ona Ltd", NOW, ExpirySource.ANSWER, references=references
            )
            assert session.lasting_reference == lasting


def test_a_session_shows_neither_its_token_nor_its_link():
    session = Session("t0ken", "https://verify.test/t0ken", "scan-1", NOW, ExpirySource.ANSWER, digit_string="12345")
    assert "scan-1" in repr(session)
    for secret in ("t0ken", "verify.test", "12345"):
        assert secret not in f"{session!r} {session!s} {[session]}"
