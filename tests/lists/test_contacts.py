import string

import phonenumbers
import pytest
from email_validator import EmailNotValidError, validate_email
from hypothesis import example, given
from hypothesis import strategies as st

from onboarding_worker.lists.phone_numbers import phone, plain_phone
from onboarding_worker.lists.rules import PLAIN_EMAIL, email
from onboarding_worker.providers.values import Refusal

LABELS = st.text(string.ascii_letters + string.digits + "-._+", max_size=70)


@given(LABELS, LABELS, st.sampled_from(["com", "test", "local", "xn--p1ai", "museum", "c", "arpa", "com\n", "onion"]))
@example("a" * 64, "b" * 63, "com")
@example("a" * 65, "b", "com")
@example("a" * 40 + "." + "b" * 40, "b", "com")
@example("a", "b" * 63, "com")
@example("a", "b" * 64, "com")
@example("Info", "b", "com")
@example("a", "B", "com")
@example("a", ".".join(["b" * 61] * 4), "com")
@example("a", "xn--a", "com")
@example("a", "ab--c", "com")
@example("a", "-b", "com")
@example("a", "b-", "com")
@example("a.", "b", "com")
@example("a", "b.", "com")
def test_the_quick_way_accepts_no_address_that_the_library_refuses_or_changes(local, domain, top):
    address = f"{local}@{domain}.{top}"
    if not PLAIN_EMAIL.match(address):
        return
    valid = validate_email(address, check_deliverability=False, test_environment=True, strict=True)
    assert (valid.normalized, valid.ascii_email) == (address, address)


@given(st.from_regex(r"[a-z0-9_+-]{1,20}(\.[a-z0-9]{1,9}){0,2}@([a-z0-9]{1,12}\.){1,3}(com|org|de|lt)", fullmatch=True))
def test_everyday_addresses_take_the_quick_way(address):
    assert PLAIN_EMAIL.match(address)
    assert email(address) == address


def test_an_address_that_is_not_what_it_seems_is_refused():
    cases = {
        "ann@ex\u0430mple.com": "a domain that mixes letters of two alphabets which look alike",
        "ann@mail.xn--exmple-4nf.com": "a domain that mixes letters of two alphabets which look alike",
        "ann@example\n.com": "a line break in an address",
        "ann@example.com\nbob@example.com": "more than one email address",
    }
    assert {address: email(address).problem for address in cases} == cases


@pytest.mark.parametrize("domain", ["münchen.de", "пример.рф", "пример.com", "例え2ab.jp"])
def test_a_domain_of_any_one_alphabet_is_kept_in_its_ascii_form(domain):
    assert "@" in email(f"ann@{domain}")
    assert email(f"ann@{domain}").isascii()


@given(st.one_of(st.text(max_size=40), st.emails()))
def test_an_address_is_accepted_only_where_the_library_accepts_it(text):
    try:
        valid = validate_email(text, check_deliverability=False, test_environment=True, strict=True)
    except (EmailNotValidError, UnicodeError):
        assert isinstance(email(text), Refusal)
    else:
        kept = email(text)
        assert isinstance(kept, Refusal) or kept == f"{valid.local_part}@{valid.ascii_domain}"


@given(st.text("+0123456789 ()-/.٣", max_size=24), st.sampled_from(["", "DE", "US", "LT", "AU"]))
def test_what_is_kept_of_a_phone_number_is_e164_and_reads_the_same_again(text, country):
    kept = phone(text, country)
    if isinstance(kept, Refusal):
        return
    assert kept[0] == "+"
    assert kept[1:].isascii()
    assert kept[1:].isdigit()
    assert 8 <= len(kept) <= 16
    assert phonenumbers.is_possible_number(phonenumbers.parse(kept))


CODES = st.sampled_from(sorted(phonenumbers.COUNTRY_CODE_TO_REGION_CODE))
WRITTEN = st.text("0123456789" * 3 + " -.()+", min_size=5, max_size=15)


@given(CODES, WRITTEN)
@example(39, "06 698 00000")
@example(44, "(0)7700 900123")
@example(1, "1 202 555 0100")
@example(7, "8 912 345-67-89")
def test_the_quick_way_keeps_a_number_only_as_the_library_would(code, written):
    text = f"+{code}{written}"
    quick = plain_phone(text)
    if quick is not None:
        number = phonenumbers.parse(text, None)
        assert phonenumbers.is_possible_number(number)
        assert quick == phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.E164)


def test_most_numbers_of_the_world_take_the_quick_way():
    examples = [phonenumbers.example_number(region) for region in sorted(phonenumbers.SUPPORTED_REGIONS)]
    texts = [phonenumbers.format_number(one, phonenumbers.PhoneNumberFormat.E164) for one in examples if one]
    quick = [text for text in texts if plain_phone(text) is not None]
    assert len(quick) > 0.8 * len(texts) > 150


def test_a_phone_number_is_kept_as_e164():
    cases = [
        ("+37060000000", "", "+37060000000"),
        ("+370 (600) 00-000", "DE", "+37060000000"),
        ("0171 3920012", "DE", "+491713920012"),
        ("0491 570 006", "AU", "+61491570006"),
        ("(202) 555-0100", "US", "+12025550100"),
        ("0049 171 3920012", "AT", "+491713920012"),
        ("+39 06 698 00000", "", "+390669800000"),
        ("+447700900123", "", "+447700900123"),  # a range for fiction: possible, but never assigned
    ]
    assert [(text, got) for text, country, kept in cases if (got := phone(text, country)) != kept] == []
