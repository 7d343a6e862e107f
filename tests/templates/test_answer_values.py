"""What an answer has besides the link, in templates: `vendor.NAME` above all, and what a vendor could do with it."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from onboarding_worker.core.model.customers import Customer, Person
from onboarding_worker.core.model.sessions import Opening
from onboarding_worker.core.rules.contact import Invitation
from onboarding_worker.templates.checks import doubts, problems
from onboarding_worker.templates.language import TemplateProblem
from onboarding_worker.templates.render import Templates

NOW = datetime(2026, 11, 20, 10, 0, tzinfo=UTC)
LINK = "https://verify.example.com/s/t0k3n"
INVITATION = Invitation(
    Customer("c-1", person=Person(first_name="Maria")),
    opening=Opening(LINK),
    expires_at=NOW + timedelta(days=7),
    sender_name="Example Bank",
)
CODE = "Code{% if vendor.code %} {{ vendor.code }}{% endif %}. {{ link }}"
FILES = {f"default/en/{part}": CODE for part in ("body.txt", "body.html", "sms.txt")}
FRANKIEONE, IDENFY = {"provider", "vendor"}, {"digits"}


def sent(templates, channel="email", **values):
    opening = Opening(LINK, vendor="OCRLabs", vendor_parameters=values)
    return templates.render(replace(INVITATION, opening=opening), channel=channel, now=NOW)


def test_a_vendors_value_can_be_written_in_every_part_of_a_message(own):
    templates = own({**FILES, "default/en/subject.txt": "Your code: {{ vendor['code-2'] or vendor.code }}"})
    made = sent(templates, code="AB 12")
    assert (made.subject, made.text, made.html) == ("Your code: AB 12", *[f"Code AB 12. {LINK}"] * 2)
    assert sent(templates, **{"code-2": "7"}).subject == "Your code: 7"
    assert sent(templates, "sms", code="AB 12").text == f"Code AB 12. {LINK}"
    assert problems(templates) == []


def test_a_value_that_an_answer_does_not_have_is_empty(own):
    templates = own(FILES)
    assert sent(templates).text == f"Code. {LINK}"
    assert sent(templates, "sms", other="x").text == f"Code. {LINK}"


def test_what_follows_the_dot_is_a_key_and_never_an_attribute(own, subtests):
    for name in ["items", "keys", "get", "pop", "__class__", "__init__", "update"]:
        with subtests.test(name=name):
            templates = own(
                {"default/en/body.txt": f"[{{{{ vendor.{name} }}}}{{{{ vendor['{name}'] }}}}] {{{{ link }}}}"}
            )
            assert sent(templates, code="x").text == f"[] {LINK}"
            assert sent(templates, **{name: "x"}).text == f"[xx] {LINK}"


A_DOT = "a dot after a variable, but for vendor.NAME and message.NAME, is not available"


def test_nothing_but_the_name_of_a_value_may_follow(own, subtests):
    for source, problem in [
        ("{{ vendor }}", "write vendor.NAME, with the name of one value"),
        ("{% if vendor %}{% endif %}", "write vendor.NAME, with the name of one value"),
        ("{{ vendor.a.b }}", A_DOT),
        ("{{ vendor.a.__class__ }}", A_DOT),
        ("{{ vendor[first_name] }}", "[…] after a variable is not available"),
        ("{{ vendor[0] }}", "[…] after a variable is not available"),
        ("{{ vendor['a b'] }}", "[…] after a variable is not available"),
        ("{{ vendor.items() }}", "calling a function is not available"),
        ("{{ link.code }}", A_DOT),
        ("{{ vendors.code }}", A_DOT),
        ("{{ vendors }}", "there is no variable vendors, did you mean vendor?"),
        ("{% set vendor = link %}", "the variable vendor cannot be set"),
        ("{% set x = vendor %}{{ x.code }}", A_DOT),
    ]:
        with subtests.test(source=source, problem=problem):
            templates = own({"default/en/body.txt": "{{ link }}" + source})
            assert any(problem in line for line in problems(templates)), problems(templates)
            with pytest.raises(TemplateProblem):
                sent(templates, code="x")


def test_a_hostile_value_stays_text(own):
    templates = own({**FILES, "default/en/subject.txt": "{{ vendor.code }} for you"})
    script = sent(templates, code="<script>x</script>")
    assert "<script>" not in script.html
    assert "&lt;script&gt;" in script.html
    again = sent(templates, code="{{7*7}}{% include 'x' %}")
    assert again.subject == "{{7*7}}{% include 'x' %} for you"
    assert "{{7*7}}" in again.text
    for channel in ("email", "sms"):
        lines = sent(templates, channel, code="1\r\nBcc: x\n\n\u2028\u202e2\u200b3\x00")
        assert lines.text == f"Code 1 Bcc: x 23. {LINK}"
        assert "\n" not in lines.subject


def test_a_long_value_and_an_address_are_not_written(own, subtests):
    for value in [
        "x" * 10_000,
        "x" * 201,
        "https://evil.example/x",
        "evil.example",
        "www.evil",
        "a@evil",
        "javascript:x",
        "tel:1",
        "//localhost/pay",
        "\\\\host\\share",
        "/\\evil",
        "185.12.3.4/pay",
        "pay at 185.12.3.4.",
        "185\u300212\uff0e3\uff614",
        "１８５.12.3.4",
    ]:
        with subtests.test(value=value):
            assert sent(own(FILES), code=value).text == f"Code. {LINK}"


@pytest.mark.parametrize(
    "value",
    [
        *("x" * 200, "AB-12_34", "a/b+c==", "a//b+//c", "3.14", "Müller & Co."),
        "1.234.567.890",
        "01.23.45.67.89",
        "1.2.3",
    ],
)
def test_a_short_code_is(own, value):
    assert f"Code {value}. " in sent(own(FILES), code=value).text


@pytest.mark.parametrize(
    ("files", "problem"),
    [
        ({"default/en/subject.txt": "{{ vendor.code }}"}, "default/en/subject.txt: renders no text"),
        (
            {"default/en/body.html": '{% extends "layout.html" %}{% block request %}{{ vendor.code }}{% endblock %}'},
            "default/en/body.html: the block request is empty in the invitation to a person",
        ),
        (
            {"default/en/sms.txt": "{% if vendor.code %}{{ vendor.code }}{% else %}{{ link }}{% endif %}"},
            "default/en/sms.txt: lacks {{ link }}",
        ),
        ({"default/en/body.txt": "{% if not digits %}{{ link }}{% endif %}"}, "default/en/body.txt: lacks {{ link }}"),
    ],
)
def test_a_message_that_works_only_with_or_without_the_value_is_refused(own, files, problem):
    found = problems(own(files))
    assert [line for line in found if line.startswith(problem)], found


def test_check_says_which_values_an_answer_may_lack(own):
    careless = own({"default/en/body.txt": "{{ link }}\n{{ vendor.code }}{{ vendor['b-c']|d('-', true) }}{{ digits }}"})
    assert problems(careless) == []
    assert doubts(careless, FRANKIEONE | IDENFY) == [
        "default/en/body.txt, line 2: digits is empty where an answer lacks it; say what to write then, as in"
        " {% if digits %}…{% endif %}",
        "default/en/body.txt, line 2: vendor.code is empty where an answer lacks it; say what to write then, as in"
        " {% if vendor.code %}…{% endif %}",
    ]
    always = "is always empty: no account's provider answers it"
    assert [line.partition("line 2: ")[2] for line in doubts(careless, IDENFY) if always in line] == [
        f"vendor.code {always}",
        f'vendor["b-c"] {always}',
    ]
    assert doubts(own(FILES), FRANKIEONE) == []
    assert doubts(Templates(None), set()) == []


def test_the_invitation_that_holds_them_shows_none():
    opening = Opening(LINK, vendor_parameters={"code": "s3cret"})
    assert "s3cret" not in repr(replace(INVITATION, opening=opening)) + repr(opening)
