"""The words of a WhatsApp message: an approved template, and values that Twilio accepts."""

from datetime import UTC, datetime, timedelta

import pytest

from onboarding_worker.core.model.customers import Customer, Person
from onboarding_worker.core.model.sessions import Opening
from onboarding_worker.core.rules.contact import Invitation
from onboarding_worker.templates.checks import problems
from onboarding_worker.templates.content import NotContent, content_of
from onboarding_worker.templates.language import TemplateProblem
from onboarding_worker.templates.render import Templates

SID = f"HX{'0123456789abcdef' * 2}"
NOW = datetime(2026, 11, 20, 10, 0, tzinfo=UTC)


def test_spaces_become_single_ones_and_lines_may_be_blank():
    found = content_of(f"content: {SID}\n\n1:  Maria \t  Lopez\n\nlink_end: s?t=1:2")
    assert (found.sid, found.values) == (SID, {"1": "Maria Lopez", "link_end": "s?t=1:2"})


def test_what_twilio_would_refuse_is_refused_before(subtests):
    cases = [
        ("1: Maria", "content: HX"),
        ("content: MG0123\n1: Maria", "content: HX"),
        (f"content: {SID}\n1:", "1 is empty"),
        (f"content: {SID}\n1: a\n1: b", "1 is there twice"),
        (f"content: {SID}\nDear Maria", "expected lines"),
        (f"content: {SID}\n" + "\n".join(f"{n}: a" for n in range(101)), "more than 100"),
    ]
    for text, why in cases:
        with subtests.test(text=text):
            with pytest.raises(NotContent, match=why) as error:
                content_of(text)
            assert "Maria" not in str(error.value)


def templates(tmp_path, words):
    file = tmp_path / "default" / "en" / "whatsapp.txt"
    file.parent.mkdir(parents=True)
    file.write_text(words)
    return Templates(tmp_path)


def test_a_message_has_the_customers_values_and_the_end_of_the_link(tmp_path):
    made = templates(tmp_path, f"content: {SID}\n1: {{{{ name or 'customer' }}}}\n2: {{{{ link_path }}}}")
    assert not problems(made)
    customer = Customer("C-1", person=Person(first_name="Maria"))
    invitation = Invitation(
        customer, Opening("https://verify.example.com/s?t=1"), NOW + timedelta(days=7), sender_name="Example Bank"
    )
    assert made.render(invitation, channel="whatsapp", now=NOW).text == f"content: {SID}\n1: Maria\n2: s?t=1"


def test_check_names_a_value_that_may_be_empty_and_a_file_without_the_link(tmp_path):
    made = templates(tmp_path, f"content: {SID}\n1: {{{{ first_name }}}}")
    assert any("1 is empty" in problem for problem in problems(made))
    assert any("lacks {{ link }}" in problem for problem in problems(made))
    invitation = Invitation(
        Customer("C-1"), Opening("https://verify.example.com/s"), NOW + timedelta(days=7), sender_name="Example Bank"
    )
    with pytest.raises(TemplateProblem, match="1 is empty"):
        made.render(invitation, channel="whatsapp", now=NOW)


def test_no_template_for_whatsapp_is_built_in(tmp_path):
    assert Templates(None).lacks("whatsapp")
    assert not Templates(None).lacks("sms")
    assert not templates(tmp_path, f"content: {SID}\n1: {{{{ link }}}}").lacks("whatsapp")
