"""Numbers that a program wrote: kept as floats, or without their +. None is ever read as another number."""

import io
import json
from random import Random

import phonenumbers
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from phonenumbers import PhoneNumberFormat, PhoneNumberType

from onboarding_worker.lists.accept import accept, customer_id
from onboarding_worker.lists.cells import whole
from onboarding_worker.lists.lines import AcceptedLine, RefusedLine
from onboarding_worker.lists.listing import open_list
from onboarding_worker.lists.options import ListOptions
from onboarding_worker.lists.phone_numbers import phone, phone_of_any_country, readings
from onboarding_worker.lists.rules import RULES
from onboarding_worker.providers.values import Refusal
from tests.lists.conftest import TODAY
from tests.lists.formats.files import workbook
from tests.suite.of_features import needs

REGIONS = "AT AU BE BR CH CN CZ DE DK ES FI FR GB ID IE IN IT JP KR LT LU NL NO PL PT RU SE TR UA US ZA"
OF_MOBILES = (PhoneNumberType.MOBILE, PhoneNumberType.FIXED_LINE_OR_MOBILE)


def mobile(region: str, random: Random) -> phonenumbers.PhoneNumber:
    """Any valid mobile of the country."""
    like = phonenumbers.example_number_for_type(region, PhoneNumberType.MOBILE)
    assert like is not None
    digits = phonenumbers.national_significant_number(like)
    while True:
        kept = random.randint(0, 3)
        text = f"+{like.country_code}{digits[:kept]}" + "".join(random.choices("0123456789", k=len(digits) - kept))
        number = phonenumbers.parse(text)
        if (
            phonenumbers.is_valid_number_for_region(number, region)
            and phonenumbers.number_type(number) in OF_MOBILES
            and phonenumbers.format_number(number, PhoneNumberFormat.E164) == text
        ):
            return number


@given(st.sampled_from(REGIONS.split()), st.integers(0, 2**32).map(Random))
def test_no_mobile_is_read_as_another_number_however_it_is_written(region, random):
    number = mobile(region, random)
    meant = phonenumbers.format_number(number, PhoneNumberFormat.E164)
    national = phonenumbers.format_number(number, PhoneNumberFormat.NATIONAL)
    digits = phonenumbers.national_significant_number(number)
    assert phone(meant, region) == meant
    for text in (national, phonenumbers.normalize_digits_only(national), digits, meant[1:], f"00{meant[1:]}"):
        read = phone(text, region)
        assert read == meant or isinstance(read, Refusal), region
        if isinstance(read, Refusal) and not text.startswith("00"):
            assert meant in readings(text, region), region
            assert digits not in str(read)
    for text in (f"{meant[1:]}.0", f"{digits}.00", f"{meant}.0", f"{meant[1:]}.5"):
        assert isinstance(phone(text, region), Refusal), region
        assert isinstance(phone_of_any_country(text), Refusal), region


@given(st.sampled_from(["DE", "ID"]), st.integers(0, 2**32).map(Random))
def test_a_number_with_two_readings_is_refused_and_can_be_written_in_both_ways(region, random):
    meant = phonenumbers.format_number(mobile(region, random), PhoneNumberFormat.E164)
    digits = meant[1:]
    read = phone(digits, region)
    assert isinstance(read, Refusal)
    one, other = read.hint.removeprefix("write ").split(" or ")
    assert (one[:4], other[:4]) == (f"+{digits[:3]}", f"0{digits[:3]}")
    assert phone(f"+{digits}", region) == meant
    assert phone(f"0{digits}", region) == f"+{digits[:2]}{digits}"


def test_a_number_with_one_reading_is_kept(subtests):
    for text, country, meant in [
        ("12025550100", "US", "+12025550100"),
        ("436641234567", "AT", "+436641234567"),
        ("3912345678", "IT", "+393912345678"),  # begins with the digits of +39
        ("393912345678", "IT", "+393912345678"),
        ("447700900123", "GB", "+447700900123"),  # not valid, but of one reading
        ("01.44.55.66.00", "FR", "+33144556600"),
        ("(212) 555.0000", "US", "+12125550000"),
        ("0049 171 3920012", "AT", "+491713920012"),
    ]:
        with subtests.test(text=text, country=country, meant=meant):
            assert phone(text, country) == meant


@given(st.integers(0, 10**12), st.sampled_from([".0", ".00", ",0", ",00", ".000000"]))
@example(1001, ".0")
def test_an_id_that_was_written_as_a_float_is_refused_in_each_column_of_ids(number, fraction):
    text = f"{number}{fraction}"
    ids = [customer_id(text, hash_ids=hashed, phone="", country="") for hashed in (False, True)]
    for read in (*ids, RULES["entity_id"](text), RULES["external_ref"](text)):
        assert isinstance(read, Refusal)
        assert "write the digits alone" in read.hint
        assert str(number) in read.hint or number > 999_999
        assert text not in str(read)


def test_an_id_with_a_dot_of_its_own_is_kept(subtests):
    for text in ["1001", "1.000", "1001.5", "10.1.0", "A1.0", "0.1"]:
        with subtests.test(text=text):
            assert customer_id(text, hash_ids=False, phone="", country="") == text


@given(st.integers(-(2**53) + 1, 2**53 - 1))
def test_a_whole_number_of_a_number_cell_is_its_digits(number):
    assert whole(float(number)) == str(number)


def test_a_fraction_and_a_float_without_exact_digits_are_refused(subtests):
    for number in [1001.5, 0.1, 2.0**53, 1e21, -1e21]:
        with subtests.test(number=number):
            assert isinstance(whole(number), Refusal)


TITLES = ("customer_id", "phone", "country")


@pytest.mark.parametrize(
    "written",
    [
        pytest.param(workbook, marks=needs("spreadsheets")),
        lambda titles, row: json.dumps(dict(zip(titles, row, strict=True))).encode(),
    ],
    ids=["xlsx", "jsonl"],
)
def test_number_cells_and_text_cells_mean_the_same_in_each_format(written):
    def read(*row):
        (line,) = open_list(io.BytesIO(written(TITLES, row)), ListOptions(today=TODAY))
        return line

    numbers = read(1001.0, 436641234567.0, "AT")
    assert isinstance(numbers, AcceptedLine)
    assert (numbers.customer.customer_id, numbers.customer.person.phone) == ("1001", "+436641234567")
    texts = read("1001.0", "436641234567.0", "AT")
    assert isinstance(texts, RefusedLine)
    assert {problem.column for problem in texts.problems} == {"customer_id", "phone"}
    two = read(1001, 491721234567, "DE")
    assert isinstance(two, RefusedLine)
    assert [problem.hint for problem in two.problems] == ["write +491…67 or 0491…67"]


def test_rows_with_numbers_of_one_mistake_have_one_remedy():
    lines = [
        accept(2, {"customer_id": f"{n}.0", "channel": "none"}, ListOptions(today=TODAY)) for n in (1, 4000, 10**9)
    ]
    assert len({problem.remedy for line in lines if isinstance(line, RefusedLine) for problem in line.problems}) == 1
