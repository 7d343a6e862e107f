"""Where a customer may be: the row's zone, else those of the number and the country, and never none."""

import zoneinfo

import phonenumbers
import pytest
from hypothesis import given
from hypothesis import strategies as st
from phonenumbers.timezone import time_zones_for_number

from onboarding_worker.core.model.customers import Customer
from onboarding_worker.core.rules.quiet_hours import Hours, QuietHours, zone_names, zones_of_countries
from onboarding_worker.providers.countries import ALPHA3_OF

AUSTRALIAN_MOBILE, LITHUANIAN, TOLL_FREE = "+61412345678", "+37060000000", "+18005551234"
MANHATTAN, JAMAICAN, SATELLITE = "+12125551234", "+18765242084", "+870123456789"
UNINHABITED = {"BV", "HM"}


def candidates(timezone="", phone="", country="", default="UTC"):
    return Hours(zone=default).zones_of(timezone=timezone, phone=phone, country=country)


def test_the_rows_own_zone_decides():
    assert candidates("Europe/Vilnius", AUSTRALIAN_MOBILE, "US") == ("Europe/Vilnius",)


def test_a_name_that_is_no_zone_counts_as_none(subtests):
    for name in [
        "Europe/Nowhere",
        "Factory",
        "localtime",
        "../../etc/passwd",
        "/etc/passwd",
        "Europe",
        "a\0b",
        "\udc80",
        "",
    ]:
        with subtests.test(name=name):
            assert name not in zone_names()
            assert candidates(name, country="LT") == ("Europe/Vilnius",)


def test_an_australian_mobile_may_be_anywhere_in_australia():
    assert {"Australia/Perth", "Australia/Sydney", "Australia/Eucla"} < set(candidates(phone=AUSTRALIAN_MOBILE))


def test_an_area_code_says_more_than_its_country():
    assert candidates(phone=MANHATTAN) == candidates(phone=MANHATTAN, country="US") == ("America/New_York",)


def test_a_country_says_more_than_a_number_that_is_used_all_over_a_continent():
    assert "Pacific/Guam" in candidates(phone=TOLL_FREE)
    assert candidates(phone=TOLL_FREE, country="US") == zones_of_countries()["US"]
    assert candidates(phone=JAMAICAN, country="JM") == ("America/Jamaica",)


def test_a_number_of_a_calling_code_that_one_country_has_is_of_this_country_even_where_no_plan_knows_it():
    assert candidates(phone="+8610", country="CN") == ("Asia/Shanghai",)
    assert set(zones_of_countries()["CN"]) > {"Asia/Shanghai"}


def test_with_a_number_of_another_country_the_customer_may_be_in_either():
    assert set(candidates(phone=LITHUANIAN, country="JP")) == {"Asia/Tokyo", *candidates(phone=LITHUANIAN)}
    assert {"America/Jamaica", "America/New_York"} < set(candidates(phone=JAMAICAN, country="US"))


def test_a_number_without_a_place_leaves_it_to_the_country():
    cases = [SATELLITE, "", "+", "+0", "+999999999999", "12", "\u0663\u0667"]
    assert [
        (phone, got) for phone in cases if (got := candidates(phone=phone, country="LT")) != ("Europe/Vilnius",)
    ] == []


@pytest.mark.parametrize("phone", ["tel:+61412345678", "\uff0b61412345678", "+ 61 412 345 678"])
def test_a_number_that_is_not_kept_as_ours_are_is_read_all_the_same(phone):
    assert set(candidates(phone=AUSTRALIAN_MOBILE)) <= set(candidates(phone=phone, country="AU"))


def test_an_unknown_place_is_the_configured_zone():
    assert candidates(default="Europe/Riga") == ("Europe/Riga",)
    assert candidates(country="BV", default="no zone") == ("UTC",)


def test_every_country_where_people_live_has_its_zones():
    assert {country for country in ALPHA3_OF if not zones_of_countries().get(country)} == UNINHABITED
    assert not {"XX", ""} & zones_of_countries().keys()
    assert len(zones_of_countries()["RU"]) > 20


texts = st.one_of(st.text(max_size=20), st.sampled_from(["Europe/Riga", AUSTRALIAN_MOBILE, "US", "AU", JAMAICAN]))


@given(texts, texts, texts, texts)
def test_whatever_is_in_the_row_there_is_a_zone_and_each_opens(timezone, phone, country, default):
    found = candidates(timezone, phone, country, default)
    assert found
    assert list(found) == sorted(set(found))
    assert all(zoneinfo.ZoneInfo(name) for name in found)


def test_no_zone_that_the_number_may_be_in_is_left_out():
    """Also where the number was not parsed, because all zones of its calling code have one clock."""
    compared = 0
    for region in sorted(phonenumbers.SUPPORTED_REGIONS):
        for kind in range(11):
            example = phonenumbers.example_number_for_type(region, kind)
            if example is None:
                continue
            text = phonenumbers.format_number(example, phonenumbers.PhoneNumberFormat.E164)
            for phone in (text, text[:-3] + "123", text[:-4] + "9876"):
                library = zone_names() & {*time_zones_for_number(phonenumbers.parse(phone))}
                assert library <= set(candidates(phone=phone))
                compared += bool(library)
    assert compared > 1000


def test_the_zone_matters_only_where_a_channel_has_quiet_hours():
    hours = Hours({"sms": QuietHours.parse("21:00-08:00")}, zone="Asia/Tokyo")
    ona = Customer("Ona", timezone="Europe/Vilnius")
    cases = [((), ()), (("email",), ()), (("sms",), ("Europe/Vilnius",)), (("email", "sms"), ("Europe/Vilnius",))]
    assert [(channels, hours.zones(ona, channels)) for channels, _ in cases] == cases
    assert [hours.concern(channels) for channels, _ in cases] == [False, False, True, True]
    assert hours.zones(Customer("Jonas"), ("sms",)) == ("Asia/Tokyo",)


def test_quiet_hours_are_read_as_they_are_written():
    night = QuietHours.parse(" 21:00 - 08:30 ")
    assert (str(night), QuietHours.parse(night)) == ("21:00-08:30", night)
    for wrong in ("21:00-21:00", "24:00-08:00", "21:60-08:00", "21:00", "", None, 21, "21:00-08:00 or so"):
        with pytest.raises(ValueError, match="expected"):
            QuietHours.parse(wrong)
