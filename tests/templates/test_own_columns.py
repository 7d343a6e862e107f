"""Columns of lists in templates, `message.NAME`: what they show, and what a message lacks without them."""

from dataclasses import replace

import pytest

from onboarding_worker.core.rules.contact import Invitation
from onboarding_worker.core.rules.contracts import Message
from onboarding_worker.templates.checks import SAMPLE, SAMPLE_NOW, doubts, problems, with_columns
from onboarding_worker.templates.language import TemplateProblem
from onboarding_worker.templates.render import Templates

ASKS = "{% if message.branch %}{{ message.branch }}{% else %}your branch{% endif %} {{ link }}"
SHOWS = {
    "default/en/subject.txt": "At {{ message.branch }}",
    "default/en/body.txt": "At {{ message.branch }}, {{ message.adviser|default('your adviser') }}: {{ link }}",
    "default/en/body.html": "<p>{{ message.branch }}</p><a href='{{ link }}'>{{ message.adviser or 'Verify' }}</a>",
    "default/en/sms.txt": "{{ message.branch }}: {{ link }}",
}


def of(**columns: str) -> Invitation:
    person = replace(SAMPLE.customer.person, message=columns or None)
    return replace(SAMPLE, customer=replace(SAMPLE.customer, person=person))


def made(templates: Templates, channel: str = "email", **columns: str) -> Message:
    return templates.render(of(**columns), channel=channel, now=SAMPLE_NOW)


def test_each_customers_own_value_is_in_each_part(own):
    templates = own(SHOWS)
    assert problems(templates) == []
    for branch, adviser in (("Vilnius", "Ona"), ("Kaunas", "Jonas"), ("Kaunas", "")):  # prepared by the first one
        columns = {"branch": branch} | ({"adviser": adviser} if adviser else {})
        mail, text = made(templates, **columns), made(templates, "sms", **columns)
        assert mail.subject == f"At {branch}"
        assert mail.text == f"At {branch}, {adviser or 'your adviser'}: {SAMPLE.opening.link}"
        assert f"<p>{branch}</p>" in mail.html
        assert f">{adviser or 'Verify'}</a>" in mail.html
        assert text.text == f"{branch}: {SAMPLE.opening.link}"


@pytest.mark.parametrize("more", ["", "{{ message.branch|lower }}"])  # filled in, and rendered for each
@pytest.mark.parametrize(
    "value", ["<b>x</b> & 'y' \"z\"", "{{ 7*7 }}", "{% if link %}", "\ue000link\ue001", "a\r\nBcc: b"]
)
def test_a_hostile_value_changes_nothing_but_itself(own, value, more):
    templates = own(SHOWS | {"default/en/body.txt": SHOWS["default/en/body.txt"] + more})
    mail, text = made(templates, branch=value), made(templates, "sms", branch=value)
    assert len(mail.subject.splitlines()) == 1
    assert "<b>" not in mail.html
    assert "49" not in mail.subject + mail.text + text.text
    assert mail.text.count(SAMPLE.opening.link) == text.text.count(SAMPLE.opening.link) == 1
    assert len(text.text.splitlines()) == 1


@pytest.mark.parametrize("value", ["", "javascript:alert(1)", "http://evil.example", "x" * 300])
def test_a_message_without_a_value_that_it_shows_is_not_written(own, value):
    templates = own(SHOWS)
    with pytest.raises(TemplateProblem) as refused:
        made(templates, branch=value)
    assert "message.branch" in str(refused.value)
    assert (value or "none") not in str(refused.value)


def test_an_email_address_of_our_own_is_shown_and_no_other(own):
    ours = own(SHOWS)
    ours.domains = {"bank.example"}
    assert made(ours, branch="ona@bank.example").subject == "At ona@bank.example"
    with pytest.raises(TemplateProblem):
        made(ours, branch="ona@evil.example")
    with pytest.raises(TemplateProblem):
        made(own(SHOWS), branch="ona@bank.example")


def test_a_template_needs_what_it_shows_and_does_not_ask_for(own):
    templates = own(SHOWS | {"default/de/sms.txt": ASKS, "vip/en/sms.txt": "{{ message.floor }} {{ link }}"})
    assert templates.needs("", "en", "email").keys() == {"branch"}
    assert templates.needs("default", "de", "sms") == {}
    assert templates.needs("vip", "de", "sms") == {"floor": "vip/en/sms.txt"}
    assert templates.own_columns == {"branch", "adviser", "floor"}
    assert made(own({"default/en/sms.txt": ASKS}), "sms").text == f"your branch {SAMPLE.opening.link}"
    assert Templates(None).own_columns == frozenset()


@pytest.mark.parametrize(
    ("text", "needed"),
    [
        ("{{ message.a }}{% if message.a %} at {{ message.a }}{% endif %}", True),
        ("{% if message.a %}{{ message.a }}{% endif %}{{ message.a }}", True),
        ("{% if message.a %}{{ message.a }}{% else %}{{ message.b or message.a }}{% endif %}", False),
        ("{% if link %}{{ message.a }}{% elif message.a %}x{% endif %}", True),
        ("{% if link %}x{% elif message.a %}{{ message.a }}{% else %}{{ message.a }}{% endif %}", False),
        ("{{ 'at ' if message.a }}{{ message.a if message.a else '' }}", False),
        ("{{ message.a|upper|default('x') }}{{ message.a|upper }}", True),
        ("{% if not message.a %}none{% else %}{{ message.a }}{% endif %}", False),
    ],
)
def test_a_question_elsewhere_in_the_file_is_none_about_what_is_shown(own, text, needed):
    templates = own({"default/en/sms.txt": f"{text} {{{{ link }}}}"})
    assert ("a" in templates.needs("", "en", "sms")) is needed


def test_a_layouts_columns_are_its_messages_too(own):
    layout = "{{ message.branch }}{% block words %}{% endblock %}"
    words = '{% extends "ours.txt" %}{% block words %}{{ link }}{% endblock %}'
    assert own({"ours.txt": layout, "default/en/sms.txt": words}).needs("", "en", "sms") == {"branch": "ours.txt"}


def test_a_name_that_no_list_can_have_is_a_problem(own, subtests):
    for source in ("message", "message.Branch", "message['a b']", "message.a.b", "message[0]"):
        with subtests.test(source=source):
            assert problems(own({"default/en/sms.txt": f"{{{{ link }}}}{{{{ {source} }}}}"}))
    assert problems(own({"default/en/sms.txt": "{{ link }}{{ message.items }}{{ message.get }}"})) == []
    page = '{% extends "builtin/default/en/page.html" %}{% block request %}{{ message.a }}{% endblock %}'
    assert any("page.html" in line for line in problems(own({"default/en/page.html": page})))


def test_check_warns_of_a_column_that_is_named_nowhere(own):
    templates = own({"default/en/sms.txt": "{{ link }}\n{% if message.brnch %}x{% endif %}"})
    (line,) = doubts(templates, (), {"branch"})
    assert line.startswith("default/en/sms.txt, line 2: message.brnch ")
    assert "message.branch?" in line
    assert doubts(templates, (), {"brnch"}) == []


def test_samples_have_each_column(own):
    assert with_columns(SAMPLE, {"branch"}).customer.person.message == {"branch": "Example branch"}
