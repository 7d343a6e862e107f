"""The page behind our own link: its words in each language, its own templates, and what is never in it."""

import re
from datetime import UTC, datetime
from pathlib import Path

import pytest

from onboarding_worker.templates.brand import Brand
from onboarding_worker.templates.checks import problems
from onboarding_worker.templates.library import Library
from onboarding_worker.templates.pages import FORMS, Pages, languages
from onboarding_worker.templates.render import Templates
from onboarding_worker.templates.values import PAGE_VARIABLES, Screen, in_words

BUILT_IN = Library.read(None)
LANGUAGES = sorted(locale for _, locale in BUILT_IN.sets)
BRAND = Brand(
    name="Example Bank", logo="https://www.example.com/logo.png", colour="#0b5d3b", support="help@example.com"
)
DOCUMENT = Path(__file__).parents[2] / "docs" / "reference" / "templates.md"


def pages(library: Library = BUILT_IN, brand: Brand = BRAND) -> Pages:
    return Pages(library, locale="en", brand=brand, sender_name="Example Bank")


def own(directory: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        (directory / name).parent.mkdir(parents=True, exist_ok=True)
        (directory / name).write_text(text, "utf-8")
    return directory


def test_each_language_of_the_messages_has_all_the_words_of_the_page(subtests: pytest.Subtests):
    for language in LANGUAGES:
        with subtests.test(language=language):
            made = pages()
            english = {screen: made.render(screen, address="/s/x") for screen in Screen}
            for screen in Screen:
                page = made.render(screen, locale=language, address="/s/x", token="t0k")

                assert f'<html lang="{language}" dir="ltr">' in page
                assert not any(empty in page for empty in ("<h1></h1>", "<p></p>", "></button>", "></a>"))
                assert ('name="form" value="t0k"' in page) == (screen in FORMS)
                assert language == "en" or page.split("<h1>")[1][:40] != english[screen].split("<h1>")[1][:40]


def test_a_page_has_the_brand_and_falls_back_from_the_locale_to_the_language_to_the_default():
    page = pages().render(Screen.ASK, locale="de-AT", address="/s/x")

    assert "Weiter zur Prüfung" in page
    assert '<img src="https://www.example.com/logo.png" alt="Example Bank"' in page
    assert '<a href="mailto:help@example.com">' in page
    assert "--brand: #0b5d3b;" in page
    assert "Continue to verification" in pages().render(Screen.ASK, locale="fi", address="/s/x")


def test_a_company_is_asked_about_the_company():
    assert "registration details" in pages().render(Screen.ASK, customer_kind="company")


def test_a_page_has_no_script_and_nothing_that_a_policy_without_scripts_refuses():
    for screen in Screen:
        page = pages().render(screen, address="/s/x", token="t")
        assert not any(one in page.lower() for one in ("<script", "javascript:", " style=", " onclick", " onload"))


def test_a_page_that_waits_for_hours_names_the_time_in_each_language(subtests: pytest.Subtests):
    for locale in LANGUAGES:
        with subtests.test(locale=locale):
            at = datetime(2026, 11, 22, 15, 5, tzinfo=UTC)
            page = Pages(BUILT_IN, locale="en", brand=Brand(), sender_name="Bank", timezone="Europe/Vilnius")
            long, short = (page.render(Screen.LONG, locale=locale, ready_by=by) for by in (at, None))

            named, _ = in_words(at, language=locale, timezone="Europe/Vilnius")
            assert named in long
            assert named not in short
            assert "17" in named


def test_no_variable_of_the_page_is_personal():
    assert not {"name", "first_name", "last_name", "company_name", "link"} & PAGE_VARIABLES.keys()


def test_values_are_escaped():
    brand = Brand(name="<b>Bank</b>", footer="<i>A & B</i>")
    page = Pages(BUILT_IN, locale="en", brand=brand, sender_name="<b>Bank</b>").render(Screen.ASK, token='"><p>')

    assert "<b>" not in page
    assert "<i>" not in page
    assert '"><p>' not in page


def test_an_own_page_changes_one_sentence(tmp_path: Path):
    words = '{% extends "builtin/default/en/page.html" %}{% block request %}Show us your passport.{% endblock %}'
    directory = own(tmp_path, {"default/en/page.html": words})
    page = pages(Library.read(directory)).render(Screen.ASK, address="/s/x")

    assert "Show us your passport." in page
    assert "Continue to verification" in page
    assert problems(Templates(directory)) == []


def test_an_own_page_that_extends_the_frame_gets_the_built_in_words_it_leaves_out(tmp_path: Path):
    words = '{% extends "page.html" %}{% block button %}Go on{% endblock %}'
    page = pages(Library.read(own(tmp_path, {"default/en/page.html": words}))).render(Screen.ASK, address="/s/x")

    assert "Go on" in page
    assert "asks you to confirm your identity" in page


FRAMED = '{% extends "page.html" %}'
EN = "default/en/page.html"
WRONG = [
    (EN, FRAMED + "{% block button %} {% endblock %}", "the block button is empty"),
    (EN, FRAMED + "{% block buton %}x{% endblock %}", "did you mean button?"),
    (EN, FRAMED + "{% block button %}{{ first_name }}{% endblock %}", "there is no variable first_name"),
    (EN, "{% for a in b %}{% endfor %}", "{% for %} is not available in templates"),
    ("default/pt/page.html", FRAMED + "{% block button %}Seguir{% endblock %}", "the block ask_heading is empty"),
    ("page.html", "<h1>{{ screen }}</h1>", 'the screen ask lacks its <form method="post">'),
]


@pytest.mark.parametrize(("file", "text", "problem"), WRONG)
def test_check_names_what_is_wrong_with_an_own_page(tmp_path: Path, file: str, text: str, problem: str):
    assert any(problem in found for found in problems(Templates(own(tmp_path, {file: text}))))


def test_messages_may_not_use_the_variables_of_the_page(tmp_path: Path):
    words = '{% extends "builtin/default/en/body.html" %}{% block request %}{{ screen }}{% endblock %}'
    found = problems(Templates(own(tmp_path, {"default/en/body.html": words})))

    assert any("there is no variable screen" in one for one in found)


def test_a_visitor_of_an_unknown_link_is_answered_in_a_language_that_the_browser_asks_for():
    cases = [
        ("de", "de"),
        ("de-AT,de;q=0.9,en;q=0.8", "de-AT"),
        ("xx, fr;q=0.5, lt;q=0.7", "lt"),
        ("en;q=0, es", "es"),
        ("*", ""),
        ("", ""),
        ("de;q=abc", ""),
        ("../../etc", ""),
        ("de," * 1000, ""),
    ]
    assert [(header, got) for header, locale in cases if (got := pages().locale_of(header)) != locale] == []


def test_languages_come_in_the_order_of_their_weights():
    assert languages("en;q=0.1, de;q=0.9, fr") == ["fr", "de", "en"]


def test_the_document_has_every_variable_of_the_page():
    table = DOCUMENT.read_text("utf-8").split("## Variables of the page behind our own link")[1].split("\n## ")[0]

    rows = re.findall(r"^\| (`.*?`) \|", table, re.MULTILINE)
    assert {name.strip("`") for row in rows for name in row.split(", ")} == set(PAGE_VARIABLES)
