"""Which numbers get text messages: none that cost extra, and only those of the configured countries."""

import phonenumbers
from hypothesis import given
from hypothesis import strategies as st
from phonenumbers import PhoneNumberType

from onboarding_worker.core.rules.text_numbers import is_landline, why_not_texted

CODES = sorted(code for code, regions in phonenumbers.COUNTRY_CODE_TO_REGION_CODE.items() if "001" not in regions)
EXAMPLES = [
    f"+{found.country_code}{found.national_number}"
    for region in sorted(phonenumbers.SUPPORTED_REGIONS)
    for type_ in PhoneNumberType.values()
    if (found := phonenumbers.example_number_for_type(region, type_)) is not None
]
like_an_example = st.builds(
    lambda number, end: number[: len(number) - len(end)] + end,
    st.sampled_from(EXAMPLES),
    st.text("0123456789", max_size=5),
)
of_any_digits = st.builds("+{}{}".format, st.sampled_from(CODES), st.text("0123456789", min_size=4, max_size=12))


@given(like_an_example | of_any_digits)
def test_what_can_only_be_a_landline_is_what_the_plans_of_the_library_say(phone):
    try:
        of_library = phonenumbers.number_type(phonenumbers.parse(phone))
    except phonenumbers.NumberParseException:
        of_library = PhoneNumberType.UNKNOWN
    assert is_landline(phone) is (of_library == PhoneNumberType.FIXED_LINE)


def test_a_number_that_costs_extra_gets_no_text(subtests):
    cases = [
        ("+37090012345", "premium-rate"),
        ("+449001234567", "premium-rate"),
        ("+979123456789", "international network"),
        ("+80812345678", "international network"),
        ("+870773111632", "satellite"),
        ("+8816312345678", "satellite"),
        ("+883510000000091", "international network"),
        ("+447600123456", "pager"),
        ("+491641234567", "pager"),
        ("+447012345678", "personal"),
        ("+4918012345", "shared-cost"),
        ("", "not a phone number"),
    ]
    for phone, why in cases:
        with subtests.test(phone=phone):
            assert why in why_not_texted(phone, None)
            assert why in why_not_texted(phone, ["LT", "GB", "DE"])
            assert not phone or phone[3:] not in why_not_texted(phone, None)


def test_what_can_only_be_a_landline_gets_no_text(subtests):
    for phone in ["+37052123456", "+49491721234567", "+442071838750", "+390669800000"]:
        with subtests.test(phone=phone):
            assert is_landline(phone)
            assert "landline" in why_not_texted(phone, None)
    for phone in ["+12025550100", "+37060000001", "+18005551234", "+999", ""]:
        with subtests.test(phone=phone):
            assert not is_landline(phone)


def test_a_usual_number_gets_texts_where_its_country_is_among_the_configured_ones(subtests):
    cases = [
        ("+37060000001", "LT"),
        ("+4915112345678", "DE"),
        ("+18005551234", "US"),  # toll-free: businesses receive texts there
        ("+12042345678", "CA"),  # shares +1 with the United States
        ("+447700900123", "GB"),  # a range that no plan knows counts as the main country's
        ("+447781123456", "GG"),
    ]
    for phone, country in cases:
        with subtests.test(phone=phone):
            assert why_not_texted(phone, None) == ""
            assert why_not_texted(phone, ["AT", country]) == ""
            assert "[sms] countries" in why_not_texted(phone, ["AT", "FR"])


def test_the_test_numbers_of_twilio_get_texts_whatever_their_plan_says():
    for countries in (None, [], ["LT"]):
        assert why_not_texted("+15005550006", countries) == ""
        assert why_not_texted("+15005540006", countries) != ""
