"""The operator's own templates: how they shadow and fall back, what `check` reports, and what they cannot do."""

import re
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import product
from pathlib import Path

import pytest

from onboarding_worker.core.model.customers import Customer, Person
from onboarding_worker.core.model.sessions import Opening
from onboarding_worker.core.rules.contact import Invitation
from onboarding_worker.templates.checks import problems
from onboarding_worker.templates.language import TemplateProblem
from onboarding_worker.templates.render import Templates
from onboarding_worker.templates.values import VARIABLES

NOW = datetime(2026, 11, 20, 10, 0, tzinfo=UTC)
DOCUMENT = Path(__file__).parents[2] / "docs/reference/templates.md"
LINK = "https://verify.example.com/s/t0k3n"
INVITATION = Invitation(
    Customer("c-1", person=Person(first_name="Maria", last_name="López")),
    opening=Opening(LINK),
    expires_at=NOW + timedelta(days=7, hours=1),
    sender_name="Example Bank",
)
EMAIL = {"subject.txt": "Subject", "body.txt": "{{ link }}"}


def email(folder, **texts):
    return {f"{folder}/{name}": text for name, text in {**EMAIL, **texts}.items()}


def rendered(templates, locale="en", template="", channel="email"):
    customer = replace(INVITATION.customer, locale=locale, template=template)
    return templates.render(replace(INVITATION, customer=customer), channel=channel, now=NOW)


def test_one_own_file_shadows_its_built_in_one_and_no_other(own):
    templates = own({"default/en/subject.txt": "Ours"})

    assert rendered(templates).subject == "Ours"
    assert "asks you to confirm your identity" in rendered(templates).text
    assert rendered(templates, "de").subject != "Ours"
    assert problems(templates) == []


def test_an_own_layout_shadows_the_built_in_one_in_every_language(own):
    templates = own({"layout.html": "<b>{% block request %}{% endblock %}</b><a href='{{ link }}'>Go</a>"})

    assert rendered(templates, "de").html.startswith("<b>")
    assert "Ausweisdokument" in rendered(templates, "de").html
    assert problems(templates) == []


WORDS = "It only takes a few minutes."


@pytest.mark.parametrize("layout", ["layout.html", "default/en/body.html", "builtin/default/en/body.html"])
@pytest.mark.parametrize("name", ["default", "vip"])
def test_a_file_that_fills_one_block_keeps_the_built_in_words_of_the_others(own, name, layout):
    """The recipe of the page: one block of one file. It once sent an empty button."""
    heading = "{% block heading %}Your account waits{% endblock %}"
    files = {f"{name}/en/body.html": f'{{% extends "{layout}" %}}{heading}'}
    if name == "vip":
        files |= {"vip/en/subject.txt": "Ours", "vip/en/body.txt": '{% extends "builtin/default/en/body.txt" %}'}
    templates = own(files)
    made = rendered(templates, template=name)
    assert "Your account waits" in made.html
    assert ">Confirm my identity</a>" in made.html
    assert "The link is valid until <strong>" in made.html
    assert WORDS in made.html
    assert WORDS in made.text
    assert problems(templates) == []


@pytest.mark.parametrize(
    "shown",
    ["<p>{{ link }}</p>", "<a href='{{ link }}'><b>Go</b></a>", "<a href='{{ link }}'><img alt='Go' src='cid:go'></a>"],
)
def test_a_link_that_can_be_seen_is_no_problem(own, shown):
    assert problems(own({"default/en/body.html": shown})) == []


def test_a_message_may_have_the_way_to_say_that_it_was_for_another_person(own):
    with_way = {
        "body.txt": "{{ link }} {{ link }}/not-me",
        "body.html": "<a href='{{ link }}'>Go</a> {{ link }}/not-me",
    }
    templates = own(email("default/en", **with_way))

    assert problems(templates) == []
    message = rendered(templates)
    assert message.text.split() == [LINK, f"{LINK}/not-me"]
    assert f"{LINK}/not-me" in message.html


def test_an_own_layout_may_extend_the_built_in_one(own):
    templates = own({"layout.html": '{% extends "builtin/layout.html" %}{% block header %}<b>Ours</b>{% endblock %}'})
    assert "<b>Ours</b>" in rendered(templates, "de").html
    assert ">Identität bestätigen</a>" in rendered(templates, "de").html
    assert problems(templates) == []


def test_each_block_of_a_text_can_be_replaced_alone(own, subtests):
    blocks = ("greeting", "request", "button", "expiry", "reason", "unexpected")
    locales = ("en", "de", "es", "fr", "lt")
    files = {}  # a template for each block
    for block, locale in product(blocks, locales):
        extends = f'{{% extends "builtin/default/{locale}/body.txt" %}}'
        files |= email(f"{block}/{locale}", **{"body.txt": f"{extends}{{% block {block} %}}Ours.{{% endblock %}}"})
    templates = own(files)
    for locale in locales:
        plain = rendered(templates, locale).text
        for block in blocks:
            with subtests.test(locale=locale, block=block):
                made = rendered(templates, locale, block).text
                assert "Ours." in made
                assert made != plain
                assert LINK in made
                assert len(set(plain.splitlines()) - set(made.splitlines())) <= 2


@pytest.mark.parametrize(
    ("locale", "subject"),
    [
        ("pt-BR", "exact"),
        ("pt_br", "exact"),
        ("pt-PT", "language"),
        ("pt", "language"),
        ("ja", "default"),
        ("", "default"),
    ],
)
def test_texts_fall_back_from_locale_to_language_to_default(own, locale, subject):
    templates = own(
        {
            **email("vip/pt-BR", **{"subject.txt": "exact"}),
            **email("vip/pt", **{"subject.txt": "language"}),
            **email("vip/en", **{"subject.txt": "default"}),
        }
    )

    assert rendered(templates, locale, "vip").subject == subject


def test_the_default_template_is_used_where_a_template_has_no_text(own):
    templates = own(email("vip/en"))

    assert rendered(templates, "de", "vip").subject == "Subject"
    assert rendered(templates, "de", "vip", "sms").text.startswith("Example Bank: Bitte")


def test_a_message_is_never_put_together_from_two_languages(own):
    templates = own({"default/pt/body.html": "<p>{{ link }}</p>", "default/pt/subject.txt": "Assunto"})

    assert rendered(templates, "pt").language == "en"
    assert rendered(templates, "pt").html.startswith("<!DOCTYPE")
    assert problems(templates) == ["default/pt: lacks body.txt, so its email is not used"]


def test_a_locale_without_html_is_sent_as_text(own):
    assert rendered(own(email("default/pt")), "pt").html == ""


def test_right_to_left_languages_have_their_direction(own):
    templates = own(email("default/ar", **{"body.html": "<html dir='{{ direction }}'>{{ link }}</html>"}))

    assert "dir='rtl'" in rendered(templates, "ar-EG").html


def test_every_documented_variable_is_there(own):
    section = DOCUMENT.read_text(encoding="utf-8").partition("## Variables")[2].partition("\n## ")[0]
    rows = re.findall(r"^\| (`.*?`) \|", section, re.MULTILINE)
    documented = [name.strip("`") for row in rows for name in row.split(", ")]
    assert {name.removesuffix(".NAME") for name in documented} == set(VARIABLES)
    used = [name.replace("message.NAME", "message.x|d") for name in documented]  # of a row without it
    templates = own({"default/en/body.txt": "|".join(f"{{{{ {name} }}}}" for name in used)})

    assert problems(templates) == []
    assert rendered(templates).text == (
        f"Maria|López|Maria López||individual|onboarding|invitation||{LINK}|s/t0k3n|27 November 2026, 11:00 (UTC)|"
        "27 Nov 2026, 11:00 (UTC)|7|169|||||Example Bank|||||#1a5fc8|#ffffff|#154ca0|#1a5fc8|#5f8fd8|en|ltr"
    )


@pytest.mark.parametrize(
    ("files", "problem"),
    [
        ({"default/en/body.txt": "no address"}, "default/en/body.txt: lacks {{ link }}"),
        ({"default/en/body.html": "<p>no address</p>"}, "default/en/body.html: lacks {{ link }}"),
        ({"default/en/sms.txt": "no address"}, "default/en/sms.txt: lacks {{ link }}"),
        ({"default/en/body.txt": "{% if first_name %}{{ link }}{% endif %}"}, "default/en/body.txt: lacks {{ link }}"),
        ({"layout.html": "<p>{% block request %}{% endblock %}</p>"}, "default/de/body.html: lacks {{ link }}"),
        ({"layout.html": "<a href='{{ link }}'> </a>"}, "layout.html: a link to {{ link }} has no text"),
        (
            {"default/en/body.html": "{% extends 'layout.html' %}{% block button %} {% endblock %}"},
            "default/en/body.html: the block button is empty in the invitation to a person; fill it with"
            " {% block button %}…{% endblock %}, or begin the file with"
            ' {% extends "builtin/default/en/body.html" %} and leave the block out',
        ),
        (
            {
                "default/en/body.txt": "{% extends 'builtin/default/en/body.txt' %}{% block expiry %}"
                "{% if kind != 'new_link' %}{{ expires }}{% endif %}{% endblock %}"
            },
            "default/en/body.txt: the block expiry is empty in the new_link to a person",
        ),
        (
            {**email("default/pt"), "default/pt/body.html": "{% extends 'layout.html' %}{{ link }}"},
            "default/pt/body.html: the block heading is empty in the invitation to a person; fill it with"
            " {% block heading %}…{% endblock %}",
        ),
        ({"builtin/default/en/sms.txt": "{{ link }}"}, "builtin/: not used; the name always means"),
        (
            {"default/en/subject.txt": "{{ link }}"},
            "default/en/subject.txt: {{ link }} is a secret and must not be in a subject",
        ),
        ({"default/en/subject.txt": " \n "}, "default/en/subject.txt: renders no text"),
        (
            {"default/en/body.txt": "{{ link }}\n{{ frist_name }}"},
            "default/en/body.txt, line 2: there is no variable frist_name, did you mean first_name?",
        ),
        ({"default/en/body.txt": "{{ link }}{% if %}"}, "default/en/body.txt, line 1: "),
        ({"default/en/body.txt": "{{ link|center(9) }}"}, "default/en/body.txt, line 1: No filter named 'center'."),
        (
            {"default/en/body.html": "{% extends 'gone.html' %}"},
            "default/en/body.html: the layout that it extends does not exist",
        ),
        (
            {"default/en/body.html": "{% extends 'default/en/sms.txt' %}"},
            "default/en/body.html, line 1: a layout must end like the file that extends it, .html or .txt",
        ),
        ({"default/en/body.htm": "x"}, "default/en/body.htm: not used; the files are "),
        ({"default/en/mail.txt": "x"}, "default/en/mail.txt: not used; the files are "),
        (email("vip/de"), "vip: no text in the default locale en; other languages get the built-in text"),
    ],
)
def test_check_names_what_is_wrong_with_a_template(own, files, problem):
    found = problems(own(files))

    assert [line for line in found if line.startswith(problem)], found


def test_a_default_language_that_nothing_is_written_in_is_a_problem(own):
    assert problems(own({}, locale="ja")) == ['[invitations] locale = "ja": there is no template in that language']


def test_a_missing_folder_is_a_problem_and_the_built_in_texts_remain(tmp_path):
    templates = Templates(tmp_path / "gone")

    assert len(problems(templates)) == 1
    assert "gone" not in problems(templates)[0]
    assert rendered(templates).subject


def test_a_file_that_is_no_utf8_is_a_problem_and_not_replaced_silently(own, tmp_path):
    (tmp_path / "default" / "en").mkdir(parents=True)
    (tmp_path / "default" / "en" / "body.txt").write_bytes("Grüße {{ link }}".encode("latin-1"))
    templates = own({})

    assert problems(templates) == ["default/en/body.txt: cannot be read as UTF-8"]
    with pytest.raises(TemplateProblem, match=r"body\.txt: cannot be read as UTF-8$"):
        rendered(templates)


@pytest.mark.parametrize(
    ("words", "problem"),
    [
        ("{% block buton %}Go{% endblock %}", "line 2: the layout has no block buton; did you mean button?"),
        ("{% block zzz %}Go{% endblock %}", "line 2: the layout has no block zzz; they are address, button,"),
        ("Please have your passport ready.", "line 2: text outside the blocks is not shown; put it into a block"),
        ("{{ first_name }}", "line 2: text outside the blocks is not shown; put it into a block"),
    ],
)
def test_words_that_no_message_would_show_are_named(own, words, problem):
    (found,) = problems(own({"default/en/body.html": '{% extends "builtin/default/en/body.html" %}\n' + words}))
    assert found.startswith(f"default/en/body.html, {problem}")


def test_a_block_of_an_own_layout_may_have_any_name(own):
    between = '{% extends "builtin/layout.html" %}{% block heading %}{% block ours %}H{% endblock %}{% endblock %}'
    words = '{% extends "ours.html" %}\n{# remark #}{% set x = 1 %}\n{% block ours %}Hello{% endblock %}\n'
    words += "{% block request %}R{% endblock %}{% block button %}B{% endblock %}{% block expiry %}E{% endblock %}"
    assert problems(own({"ours.html": between, "default/en/body.html": words})) == []


def test_hidden_files_are_ignored(own):
    assert problems(own({".DS_Store": "x", "default/.git/x": "y"})) == []


BOMBS = {
    "a string times a number": "{{ 'a' * 10**9 }}",
    "a power": "{{ 9 ** 9 ** 9 }}",
    "a long number": "{{ " + "9" * 5000 + " }}",
    "a format with a width": "{{ '%1000000000d' % 1 }}",
    "a format method": "{{ '{:1000000000}'.format(1) }}",
    "a filter that pads": "{{ 'a'|center(10**9) }}",
    "a filter that formats": "{{ '%1000000000d'|format(1) }}",
    "a filter that replaces": "{{ 'aaaa'|replace('a', 'aaaa') }}",
    "a huge range": "{% for i in range(10**9) %}a{% endfor %}",
    "nested loops": "{% for a in 'x' * 9 %}{% for b in 'x' %}{% for c in 'x' %}{% endfor %}{% endfor %}{% endfor %}",
    "a loop over a string": "{% for a in link %}{% for b in link %}{% endfor %}{% endfor %}",
    "doubling": "{% set a = 'aa' %}" + "{% set a = a ~ a %}" * 60 + "{{ a }}",
    "doubling by adding": "{% set a = 'aa' %}" + "{% set a = a + a %}" * 60 + "{{ a }}",
    "doubling by blocks": "{% set a %}aa{% endset %}" + "{% set a %}{{ a }}{{ a }}{% endset %}" * 60 + "{{ a }}",
    "lists of lists": "{% set a = [link] %}" + "{% set a = (a, a, a, a, a, a, a, a, a, a) %}" * 20 + "{{ a }}",
    "lists by a condition": "{% set a = [link] if link else link %}{{ a }}",
    "lists by a filter": "{% set a = ''|default([link, link], true) %}{{ a }}",
    "lists in text": "{% set a = link %}" + "{% set a = [a]|upper %}" * 60 + "{{ a }}",
    "escaping again": "{% set a = '" + "&" * 30_000 + "' %}" + "{% set a = a|e|title %}" * 1000 + "{{ link }}",
    "a macro of itself": "{% macro f() %}{{ f() }}{{ f() }}{% endmacro %}{{ f() }}",
    "including itself": "{% include 'ITSELF' %}",
    "a generator of words": "{{ lipsum(n=1000000) }}",
    "deep nesting": "{{ " + "(" * 5000 + "link" + ")" * 5000 + " }}",
    "many filters": "{{ link" + "|upper" * 9000 + " }}",
    "many nots": "{{ " + "not " * 9000 + "link }}",
    "deep conditions": "{% if link %}" * 3000 + "{% endif %}" * 3000,
    "too long a file": "{{ link }}" + "x" * 70_000,
}
ESCAPES = {
    "a class": "{{ ''.__class__.__mro__ }}",
    "a class by item": "{{ ''['__class__'] }}",
    "a class by filter": "{{ link|attr('__class__') }}",
    "the template itself": "{{ self }}",
    "a global": "{{ cycler.__init__.__globals__ }}",
    "a file": "{% include '/etc/passwd' %}",
    "an import": "{% import 'os' as os %}{{ os }}",
    "a call": "{{ link.upper() }}",
    "markup as it is": "{{ first_name|safe }}",
    "no escaping": "{% autoescape false %}{{ first_name }}{% endautoescape %}",
    "another link": "{% set link = 'https://evil.example' %}{{ link }}",
    "a layout by variable": "{% extends first_name %}",
}


def test_a_template_cannot_use_up_the_machine_or_reach_out_of_its_text(own, subtests):
    sources = {f"t{number}": what for number, what in enumerate(BOMBS | ESCAPES)}  # a template for each
    files = {}
    for name, what in sources.items():
        files |= email(f"{name}/en", **{"body.txt": (BOMBS | ESCAPES)[what].replace("ITSELF", f"{name}/en/body.txt")})
    templates = own(files)
    found = problems(templates)
    for name, what in sources.items():
        with subtests.test(what=what):
            assert [line for line in found if line.startswith(f"{name}/en/body.txt")]
            with pytest.raises(TemplateProblem) as caught:
                rendered(templates, template=name)
            assert "Maria" not in str(caught.value)
            assert "verify.example.com" not in str(caught.value)


def test_output_beyond_what_a_mail_needs_is_a_problem(own):
    templates = own({"default/en/body.txt": "{{ link }}" * 6000})
    invitation = replace(INVITATION, opening=Opening("https://verify.example.com/" + "t" * 2000))

    with pytest.raises(TemplateProblem, match="renders more than 256 KiB"):
        templates.render(invitation, channel="email", now=NOW)


def test_layouts_above_layouts_are_few(own):
    chain = {f"l{n}.txt": f"{{% extends 'l{n + 1}.txt' %}}" for n in range(9)} | {"l9.txt": "{{ link }}"}

    few = own({**chain, "default/en/body.txt": "{% extends 'l7.txt' %}"})
    assert rendered(few).text == LINK
    many = own({**chain, "default/en/body.txt": "{% extends 'l1.txt' %}"})
    with pytest.raises(TemplateProblem, match="more than 3 layouts"):
        rendered(many)


def test_a_failure_while_rendering_names_the_file_and_no_value(own):
    templates = own({"default/en/body.txt": "{{ link }}{% if days_left < first_name %}{% endif %}"})

    with pytest.raises(TemplateProblem) as caught:
        rendered(templates)

    assert str(caught.value) == "default/en/body.txt: does not render (TypeError)"
    assert problems(templates) == [str(caught.value)]


def test_conditions_comparisons_and_the_allowed_filters_work(own):
    source = (
        "{% set days = days_left %}{# a remark #}"
        "{% if days > 1 and customer_kind in ('individual', 'company') and not company_name %}"
        "{{ first_name|upper }} {{ company_name|default('-', true) }} {{ 'x' if days == 7 else 'y' }}"
        "{% elif days is defined %}{% else %}{% endif %} {{ last_name|truncate(3, true, '.', 0) }} {{ link }}"
    )

    assert rendered(own({"default/en/body.txt": source})).text == f"MARIA - x Ló. {LINK}"


def test_a_template_may_show_the_digits_and_the_vendor(own):
    text = "{{ link }} {{ digits }} {{ provider }}"
    templates = own({"default/en/body.txt": text})
    assert problems(templates) == []
    opening = Opening(LINK, "0123456", "OCRLabs")
    sent = templates.render(replace(INVITATION, opening=opening), channel="email", now=NOW)
    assert "0123456 OCRLabs" in sent.text
