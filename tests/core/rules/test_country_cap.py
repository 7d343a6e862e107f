"""How many texts may go to one country in an hour."""

from datetime import UTC, datetime, timedelta

import phonenumbers

from onboarding_worker.core.rules.text_numbers import NOWHERE, country_of
from onboarding_worker.reporting.forecast import last_text_at

AT = datetime(2026, 11, 20, 9, 40, tzinfo=UTC)


def test_a_number_has_the_country_of_its_plan():
    cases = {
        "+37060000001": "LT",
        "+447400123456": "GB",
        "+12025550123": "US",
        "+14165550123": "CA",
        "+77010000000": "KZ",
        "+99912345678": NOWHERE,
        "": NOWHERE,
        "37060000001": NOWHERE,
        "+370@@@@@@@@": NOWHERE,
        "+3701": NOWHERE,  # too short for any plan
        "+370" + "1" * 20: NOWHERE,
        "+3706000000": "LT",
        "+370٦٠٠٠٠٠٠٠": "LT",  # digits of another script
        "+4960000001": "DE",
    }
    assert {phone: country_of(phone) for phone in cases} == cases


def test_the_short_way_finds_what_the_library_finds():
    for code, regions in phonenumbers.COUNTRY_CODE_TO_REGION_CODE.items():
        phone = f"+{code}60000001"
        number = phonenumbers.parse(phone)
        assert country_of(phone) == (phonenumbers.region_code_for_number(number) or regions[0])


def test_the_last_text_goes_in_the_hour_in_which_the_cap_has_room(subtests):
    cases = [(0, 0, None), (1000, 0, None), (1, 999, None), (1, 1000, 1), (2000, 500, 2), (3501, 500, 4)]
    for left, sent, hours in cases:
        with subtests.test(left=left, sent=sent, hours=hours):
            expected = AT if hours is None else AT.replace(minute=0) + timedelta(hours=hours)

            assert last_text_at(1000, left, sent, now=AT) == expected
