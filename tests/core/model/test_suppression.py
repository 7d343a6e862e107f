"""Suppressed addresses: one person's spellings have the same hash, another person's address does not."""

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from onboarding_worker.core.foundation.keyring import Keyring
from onboarding_worker.core.model.channels import SuppressionReason, detail_of, stronger, text_of
from onboarding_worker.lists.phone_numbers import phone
from onboarding_worker.lists.rules import email

KEYRING = Keyring([base64.urlsafe_b64encode(bytes(32)).decode()])


def test_however_an_address_is_written_it_is_known_again():
    cases = ["Ann@Example.com", "ANN@EXAMPLE.COM", "ann@example.com.", " ann@example.com\n", "aNN@example.COM"]
    assert [
        (other, got) for other in cases if (got := text_of("email", other)) != text_of("email", "ann@example.com")
    ] == []


def test_composed_and_decomposed_letters_are_one_address():
    assert text_of("email", "jos\u00e9@example.com") == text_of("email", "JOSE\u0301@example.com")


def test_an_address_that_may_be_another_persons_is_another_one():
    cases = ["ann+news@example.com", "a.nn@example.com", "ann@example.org", "ann@mail.example.com"]
    assert [other for other in cases if text_of("email", other) == text_of("email", "ann@example.com")] == []


def test_an_address_with_two_ats_is_cut_at_the_last():
    assert text_of("email", '"a@b"@Example.com') == 'suppressed email "a@b"@example.com'
    assert text_of("email", '"a@\u00df"@example.com') == text_of("email", '"a@SS"@example.com')


def test_intake_and_suppression_read_an_address_the_same_way():
    for given_ in ("Ann@Example.com", "ann@m\u00fcnchen.example", "Ann.O'Neill+x@example.co.uk"):
        kept = email(given_)
        assert isinstance(kept, str)
        assert text_of("email", kept) == text_of("email", email(given_.upper()))
    assert text_of("sms", phone("+370 600 00 000", "")) == text_of("sms", phone("0600 00000", "LT"))


SAID = {
    "expected an address such as name@example.com",
    "expected a number such as +37060000000",
    "expected one of the channels email, sms, whatsapp",
    "expected an address of at most 320 characters",
}


def test_what_is_no_address_is_refused_without_repeating_it(subtests):
    cases = [
        ("email", "ann"),
        ("email", "@example.com"),
        ("email", "ann@"),
        ("email", ""),
        ("email", "a" * 1_000_000 + "@example.com"),
        ("email", "a@" + "." * 1_000_000),
        ("sms", "37060000000"),
        ("sms", "+3706"),
        ("sms", "+37060000000\n"),
        ("sms", "+0370600000"),
        ("sms", "+\u0663\u0667\u0660\u0666\u0660\u0660\u0660"),
        ("sms", "ann@example.com"),
        ("both", "ann@example.com"),
    ]
    for channel, address in cases:
        with subtests.test(channel=channel, address=address):
            with pytest.raises(ValueError, match="expected") as refused:
                text_of(channel, address)
            assert str(refused.value) in SAID


def test_the_longest_address_and_number_are_taken_and_no_longer_ones():
    longest = "a" * 308 + "@example.com"
    assert text_of("email", longest) == f"suppressed email {longest}"
    assert text_of("sms", "+123456789012345") == "suppressed sms +123456789012345"
    assert text_of("sms", "+1234567") == "suppressed sms +1234567"
    for channel, address in [("email", f"a{longest}"), ("sms", "+1234567890123456"), ("sms", "+123456")]:
        with pytest.raises(ValueError, match="expected"):
            text_of(channel, address)


def test_the_hash_of_a_phone_is_that_of_nothing_else():
    text = text_of("sms", "+37060000000")
    assert KEYRING.digests("address", text) != KEYRING.digests("address", "+37060000000")
    assert text != text_of("email", "+37060000000@example.com")


def test_who_wants_no_more_texts_gets_no_whatsapp_message_either():
    assert text_of("whatsapp", "+37060000000") == text_of("sms", "+37060000000")


@given(st.text(min_size=1), st.text(min_size=1))
def test_writing_an_address_anew_changes_nothing_more(local, domain):
    try:
        text = text_of("email", f"{local}@{domain}")
    except ValueError:
        return
    assert text_of("email", text.removeprefix("suppressed email ")) == text


def test_the_customers_wish_outranks_our_findings():
    assert (
        stronger(SuppressionReason.BOUNCE, SuppressionReason.STOP)
        is stronger(SuppressionReason.STOP, SuppressionReason.BOUNCE)
        is SuppressionReason.STOP
    )
    assert stronger(SuppressionReason.MANUAL, SuppressionReason.COMPLAINT) is SuppressionReason.COMPLAINT
    assert stronger(SuppressionReason.BOUNCE, SuppressionReason.MANUAL) is SuppressionReason.MANUAL


def test_a_reason_that_only_a_newer_release_has_outranks_all_others():
    for known in SuppressionReason:
        assert stronger("deceased", known) == stronger(known, "deceased") == "deceased"


def test_every_reason_has_a_text():
    assert len({detail_of(reason) for reason in [*SuppressionReason, "deceased"]}) == len(SuppressionReason) + 1
