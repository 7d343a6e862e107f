"""The text of the built-in templates, in five languages, for every kind of customer."""

import re
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from html.parser import HTMLParser
from itertools import product

import pytest

from onboarding_worker.core.model.customers import Customer, CustomerKind, Person
from onboarding_worker.core.model.sessions import Opening
from onboarding_worker.core.rules.contact import Invitation
from onboarding_worker.templates.checks import problems
from onboarding_worker.templates.language import TemplateProblem
from onboarding_worker.templates.render import Templates
from tests.suite.some import some

NOW = datetime(2026, 11, 20, 10, 0, tzinfo=UTC)
LINK = "https://verify.example.com/s/8f2c?token=t0k3n&lang=x"
MARIA = Person(email="maria@customer.example", first_name="Maria", last_name="López")
INVITATION = Invitation(
    Customer("c-1", person=MARIA),
    opening=Opening(LINK),
    expires_at=NOW + timedelta(days=7, hours=4),
    sender_name="Example Bank",
)
LOCALES = ("en", "de", "es", "fr", "lt")
KINDS = ("invitation", "reminder", "new_link")
# GSM 03.38, basic set; a text of other letters costs a segment for each 70 characters.
GSM = set(
    "@£$¥èéùìòÇ\nØø\rÅåΔ_ΦΓΛΩΠΨΣΘΞÆæßÉ !\"#¤%&'()*+,-./0123456789:;<=>?¡ABCDEFGHIJKLMNOPQRSTUVWXYZ"
    "ÄÖÑÜ§¿abcdefghijklmnopqrstuvwxyzäöñüà"
)
SUBJECTS = {
    "en": "Example Bank: please confirm your identity",
    "de": "Example Bank: Bitte bestätigen Sie Ihre Identität",
    "es": "Example Bank: confirme su identidad",
    "fr": "Example Bank : veuillez confirmer votre identité",
    "lt": "Example Bank: patvirtinkite savo tapatybę",
}
GREETINGS = {
    "en": ("Dear Maria López,", "Hello,"),
    "de": ("Guten Tag Maria López,", "Guten Tag,"),
    "es": ("Hola, Maria López:", "Hola:"),
    "fr": ("Bonjour Maria López,", "Bonjour,"),
    "lt": ("Laba diena, Maria López!", "Laba diena!"),
}
EXPIRIES = {
    "en": "27 November 2026, 14:00 (UTC)",
    "de": "27. November 2026, 14:00 Uhr (UTC)",
    "es": "27 de noviembre de 2026, 14:00 h (UTC)",
    "fr": "27 novembre 2026 à 14 h 00 (UTC)",
    "lt": "2026 m. lapkričio 27 d. 14:00 (UTC)",
}


@pytest.fixture(scope="module")
def templates():
    return Templates(None)


def to(locale="en", kind=CustomerKind.INDIVIDUAL, timezone="", **person):
    named = replace(MARIA, **person)
    return replace(INVITATION, customer=Customer("c-1", kind=kind, person=named, locale=locale, timezone=timezone))


class Page(HTMLParser):
    """An HTML part taken apart: tags in the order of their opening, links, and whether all were closed."""

    VOID = frozenset({"meta", "br", "img", "hr", "link", "input"})

    def __init__(self, html):
        super().__init__()
        self.open, self.tags, self.links, self.words = [], [], [], []
        self.feed(html)
        assert self.open == []

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))
        if tag == "a":
            self.links.append(dict(attributes)["href"])
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.words.append(data)


@pytest.mark.parametrize("locale", LOCALES)
def test_an_email_says_who_why_until_when_and_what_to_do(templates, locale):
    rendered = templates.render(to(locale), channel="email", now=NOW)

    assert rendered.language == locale
    assert rendered.subject == SUBJECTS[locale]
    assert rendered.text.splitlines()[0] == GREETINGS[locale][0]
    assert EXPIRIES[locale] in rendered.text
    assert rendered.text.count(LINK) == 1
    assert f"\n{LINK}\n" in rendered.text
    assert rendered.text.endswith("Example Bank")


def test_the_html_part_is_whole_accessible_and_loads_nothing(templates, subtests):
    for kind, customer_kind, locale in product(KINDS, CustomerKind, LOCALES):
        with subtests.test(kind=kind, customer_kind=customer_kind, locale=locale):
            rendered = templates.render(
                replace(to(locale, customer_kind, company_name="Muster & Söhne"), wording=kind),
                channel="email",
                now=NOW,
            )
            page = Page(rendered.html)

            assert page.tags[0] == ("html", {"lang": locale, "dir": "ltr", "xmlns": "http://www.w3.org/1999/xhtml"})
            assert page.links == [LINK, LINK]
            assert LINK in page.words  # to be copied, where a button does not work
            assert not re.search(r"<img|<link|<script|url\(|@import|src=", rendered.html)
            assert EXPIRIES[locale] in rendered.html
            assert all(
                dict(attributes).get("role") == "presentation" for tag, attributes in page.tags if tag == "table"
            )
            assert "{{" not in rendered.html
            assert "{%" not in rendered.html


def test_a_text_message_is_short_in_seven_bit_letters_and_ends_with_the_link(templates, subtests):
    for timezone, kind, customer_kind, locale in product(
        ["", "Europe/Vilnius", "America/Sao_Paulo"], KINDS, CustomerKind, LOCALES
    ):
        with subtests.test(timezone=timezone, kind=kind, customer_kind=customer_kind, locale=locale):
            rendered = templates.render(
                replace(to(locale, customer_kind, timezone), wording=kind), channel="sms", now=NOW
            )

            words, link = rendered.text.split("https:")
            assert "https:" + link == LINK
            assert len(words) <= 160
            assert set(words) <= GSM
            assert words.startswith("Example Bank")
            assert (rendered.subject, rendered.html) == ("", "")


@pytest.mark.parametrize("locale", LOCALES)
def test_without_a_given_name_the_greeting_is_neutral(templates, locale):
    rendered = templates.render(to(locale, first_name=""), channel="email", now=NOW)

    assert rendered.text.splitlines()[0] == GREETINGS[locale][1]
    assert "López" not in rendered.text


@pytest.mark.parametrize("locale", LOCALES)
def test_a_company_is_asked_for_its_details_by_name(templates, locale):
    rendered = templates.render(
        to(locale, CustomerKind.COMPANY, company_name="Muster & Söhne"), channel="email", now=NOW
    )

    assert rendered.subject != SUBJECTS[locale]
    assert "Muster & Söhne" in rendered.text
    assert "Muster &amp; Söhne" in rendered.html


@pytest.mark.parametrize("locale", LOCALES)
def test_a_reminder_says_that_it_is_one(templates, locale):
    first = templates.render(to(locale), channel="email", now=NOW)
    reminder = templates.render(replace(to(locale), wording="reminder"), channel="email", now=NOW)

    assert reminder.subject.endswith(first.subject)
    assert reminder.subject != first.subject
    assert len(reminder.text) > len(first.text)


NEW_LINKS = {
    "en": ("Example Bank: your new link to confirm your identity", "Your new link replaces the earlier one."),
    "de": ("Example Bank: Ihr neuer Link zur Bestätigung Ihrer Identität", "Ihr neuer Link ersetzt den früheren."),
    "es": ("Example Bank: su nuevo enlace para confirmar su identidad", "Su nuevo enlace sustituye al anterior."),
    "fr": (
        "Example Bank : votre nouveau lien pour confirmer votre identité",
        "Votre nouveau lien remplace le précédent.",
    ),
    "lt": ("Example Bank: nauja nuoroda Jūsų tapatybei patvirtinti", "nuorodą, kuri pakeičia ankstesnę."),
}


def test_a_new_link_says_that_it_replaces_the_earlier_one(templates, subtests):
    for customer_kind, locale in product(CustomerKind, LOCALES):
        with subtests.test(customer_kind=customer_kind, locale=locale):
            to_whom = to(locale, customer_kind)
            mail = templates.render(replace(to_whom, wording="new_link"), channel="email", now=NOW)
            text = templates.render(replace(to_whom, wording="new_link"), channel="sms", now=NOW)
            others = [templates.render(replace(to_whom, wording=kind), channel="email", now=NOW) for kind in KINDS[:2]]
            subject, replaces = NEW_LINKS[locale]

            assert (mail.subject == subject) == (customer_kind is CustomerKind.INDIVIDUAL)
            assert mail.subject not in {other.subject for other in others}
            assert replaces in mail.text
            assert replaces in mail.html
            assert not any(replaces in other.text + other.html for other in others)
            assert text.text != templates.render(to_whom, channel="sms", now=NOW).text


def test_the_expiry_is_in_the_customers_time_zone_and_names_it(templates):
    cases = [
        ("Europe/Berlin", "27. November 2026, 15:00 Uhr (CET)"),
        ("America/Sao_Paulo", "27. November 2026, 11:00 Uhr (UTC-03:00)"),
        ("Asia/Kathmandu", "27. November 2026, 19:45 Uhr (UTC+05:45)"),
        ("Pacific/Auckland", "28. November 2026, 03:00 Uhr (NZDT)"),
        ("Nowhere/At_All", "27. November 2026, 14:00 Uhr (UTC)"),
        ("../../etc/passwd", "27. November 2026, 14:00 Uhr (UTC)"),
        ("Europe", "27. November 2026, 14:00 Uhr (UTC)"),
    ]
    assert [
        (timezone, got)
        for timezone, time in cases
        if time not in (got := templates.render(to("de", timezone=timezone), channel="email", now=NOW).text)
    ] == []


def test_the_first_of_a_month_is_written_as_the_french_do(templates):
    invitation = replace(to("fr"), expires_at=datetime(2026, 12, 1, 8, 5, tzinfo=UTC))

    assert "jusqu’au 1er décembre 2026 à 8 h 05 (UTC)" in templates.render(invitation, channel="email", now=NOW).text


def test_a_language_without_a_text_gets_the_default_one(templates):
    cases = {
        "de": "de", "de-AT": "de", "DE_at": "de", "lt-LT": "lt", "zh-Hant-TW": "en", "": "en",
        "../de": "en", "-": "en", "en-GB": "en",
    }  # fmt: skip
    assert {locale: templates.render(to(locale), channel="email", now=NOW).language for locale in cases} == cases


def test_the_default_language_is_the_configurations():
    rendered = Templates(None, locale="fr").render(to("ja"), channel="email", now=NOW)

    assert rendered.language == "fr"


HOSTILE = [
    "<script>alert(1)</script>",
    '"><a href="https://evil.example">x</a>',
    "Maria\r\nBcc: victim@customer.example",
    "Ma\nria\x00\x1b[31m",
    "\u202egnirts\u2066\u2069\u200b\u200f\ufeff\u2028",
    "{{ link }}{% raw %}",
    "M" * 10_000,
    "https://evil.example/win",
    "You won at evil.example",
    "a\ud800b",
]


def test_a_hostile_name_stays_a_name(templates, subtests):
    for customer_kind, name in product(CustomerKind, HOSTILE):
        with subtests.test(customer_kind=customer_kind, name=name):
            invitation = to("en", customer_kind, first_name=name, last_name=name, company_name=name)

            rendered = templates.render(
                replace(invitation, sender_name="Example Bank\r\nX: y"), channel="email", now=NOW
            )
            page = Page(rendered.html)

            assert page.links == [LINK, LINK]
            assert "script" not in {tag for tag, _ in page.tags}
            assert rendered.text.count(LINK) == 1
            assert rendered.subject.isprintable()
            assert all(line.isprintable() for line in some(rendered.text.splitlines()))
            assert "https://evil" not in rendered.text
            assert len(rendered.text) < 1500
            (rendered.subject + rendered.text + rendered.html).encode()


@pytest.mark.parametrize("name", ["https://evil.example", "www.evil.example", "evil.example", "a@evil.example", "a/b"])
def test_a_name_that_would_become_a_link_is_not_repeated(templates, name):
    rendered = templates.render(to("en", first_name=name), channel="email", now=NOW)

    assert rendered.text.splitlines()[0] == "Hello,"


def test_an_unusual_name_is_greeted_as_it_is_written(templates, subtests):
    for name in ["María José", "O’Connor-Łęcki", "Nguyễn Thị", "王小明", "J.", "Dr. Ann", "محمد"]:
        with subtests.test(name=name):
            rendered = templates.render(to("en", first_name=name, last_name=""), channel="email", now=NOW)

            assert rendered.text.splitlines()[0] == f"Dear {name},"


def test_a_very_long_name_of_a_company_is_cut_and_says_so(templates):
    company = to("en", CustomerKind.COMPANY, company_name="Maria " * 50)

    rendered = templates.render(company, channel="email", now=NOW)

    assert re.search(r"your company (Maria ){9}Maria…\.", rendered.text)


def test_without_greetings_no_message_has_a_name(subtests):
    for locale, kind in product(LOCALES, KINDS):
        with subtests.test(locale=locale, kind=kind):
            neutral = Templates(None, greeting=False)
            for invitation in (to(locale), to(locale, CustomerKind.COMPANY, company_name="Lopez Ltd")):
                for channel in ("email", "sms"):
                    rendered = neutral.render(replace(invitation, wording=kind), channel=channel, now=NOW)

                    assert not re.search(
                        "maria|l[oó]pez", rendered.subject + rendered.text + rendered.html, re.IGNORECASE
                    )
            assert neutral.render(to(locale), channel="email", now=NOW).text.splitlines()[0] == GREETINGS[locale][1]


def test_what_is_no_link_is_not_sent_and_not_shown(templates, subtests):
    cases = [
        "",
        "javascript:alert(1)",
        "verify.example.com/s",
        "https://verify.example.com/a b",
        "https://verify.example.com/\nhttps://evil.example",
        'https://verify.example.com/"onclick="x',
        "https://verify.example.com/" + "a" * 5000,
    ]
    for link in cases:
        with (
            subtests.test(link=link),
            pytest.raises(TemplateProblem, match=r"^the link is not a plain http or https address$"),
        ):
            templates.render(replace(INVITATION, opening=Opening(link)), channel="email", now=NOW)


def test_a_template_that_is_not_there_is_a_problem_without_its_name(templates):
    invitation = replace(INVITATION, customer=replace(INVITATION.customer, template="../../secret"))

    with pytest.raises(TemplateProblem) as caught:
        templates.render(invitation, channel="email", now=NOW)

    assert "secret" not in str(caught.value)


def test_nothing_personal_shows_in_a_repr(templates):
    shown = repr(INVITATION) + repr(templates.render(INVITATION, channel="email", now=NOW))

    assert not [secret for secret in ("Maria", "López", "t0k3n", "customer.example") if secret in shown]


def test_the_built_in_templates_have_no_problems(templates):
    assert problems(templates) == []
    assert templates.names == {"default"}
