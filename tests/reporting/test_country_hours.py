"""A forecast knows that only so many texts go to one country in an hour."""

from datetime import UTC, datetime, timedelta

from worker.reporting.forecast import Forecast, by_country, with_country_cap

NOW = datetime(2026, 11, 20, 9, 40, tzinfo=UTC)
SOON = Forecast(NOW + timedelta(minutes=20), "sms: the limit of 100/second")


def test_the_country_with_the_most_texts_decides():
    ends = with_country_cap(SOON, 1000, {"LT": 2500, "LV": 900}, sent={"LT": 1000, "LV": 950}, now=NOW)

    assert ends == Forecast(NOW.replace(hour=12, minute=0), "[sms] per_country: 1,000 texts an hour to LT")


def test_texts_to_a_country_that_is_not_known_make_it_rough():
    ends = with_country_cap(SOON, 1000, by_country(5000, {}), sent={}, now=NOW)

    assert (ends.finishes_at, ends.assumed) == (NOW.replace(hour=13, minute=0), True)
    assert ends.limited_by == "[sms] per_country: 1,000 texts an hour to one country, if all go to one"


def test_what_has_room_or_no_cap_or_needs_a_person_stays():
    stopped = Forecast(None, "sms is stopped: bad credentials")

    assert with_country_cap(SOON, 1000, {"LT": 900}, sent={"LT": 100}, now=NOW) is SOON
    assert with_country_cap(SOON, None, {"LT": 9000}, sent={}, now=NOW) is SOON
    assert with_country_cap(stopped, 1000, {"LT": 9000}, sent={}, now=NOW) is stopped


def test_texts_go_where_they_went_lately():
    assert by_country(1000, {"LT": 30, "LV": 10}) == {"LT": 750, "LV": 250}
    assert by_country(10, {"LT": 3, "LV": 3, "EE": 3}) == {"LT": 4, "LV": 4, "EE": 4}
