"""`template preview` and `completion`: what needs no database."""

import pytest

from tests.desk.desk import Desk

LINK = "https://verify.example.com/sample"
LOCALES = ("en", "de", "es", "fr", "lt")
GREETED = "Maria"


@pytest.mark.parametrize("locale", LOCALES)
def test_an_email_is_shown_in_each_language(desk: Desk, locale: str):
    desk.without_database()
    ended = desk.onboard("template", "preview", "--locale", locale)
    assert (ended.code, ended.err) == (0, "")
    subject, blank, *text = ended.out.splitlines()
    assert subject.startswith("Subject: ")
    assert (len(subject) > 15, blank) == (True, "")
    assert LINK in "\n".join(text)
    assert GREETED in ended.out
    assert "Example Bank" in ended.out
    assert not (desk.path / "onboarding.db").exists()


def test_each_language_says_it_in_its_own_words(desk: Desk):
    for channel in ("email", "sms"):
        shown = {desk.onboard("template", "preview", "--locale", one, "--channel", channel).out for one in LOCALES}
        assert len(shown) == len(LOCALES)


@pytest.mark.parametrize("locale", LOCALES)
def test_a_text_is_short_and_has_no_subject(desk: Desk, locale: str):
    ended = desk.onboard("template", "preview", "--channel", "sms", "--locale", locale)
    assert ended.code == 0
    assert LINK in ended.out
    assert "Subject" not in ended.out
    assert len(ended.out) < 320


@pytest.mark.parametrize("locale", LOCALES)
def test_the_html_part_is_shown_in_each_language(desk: Desk, locale: str):
    ended = desk.onboard("template", "preview", "--html", "--locale", locale)
    assert ended.code == 0
    assert f'lang="{locale}"' in ended.out
    assert ended.out.count(LINK) >= 1
    assert "Subject:" not in ended.out


def test_a_text_has_no_html_part(desk: Desk):
    ended = desk.onboard("template", "preview", "--channel", "sms", "--html")
    assert (ended.code, ended.out) == (2, "")
    assert "--html" in ended.err


def test_a_language_that_there_is_not_falls_back(desk: Desk):
    english = desk.onboard("template", "preview").out
    assert desk.onboard("template", "preview", "--locale", "fi").out == english
    german = desk.onboard("template", "preview", "--locale", "de").out
    assert desk.onboard("template", "preview", "--locale", "de-AT").out == german


def test_a_preview_is_written_where_it_is_asked_for(desk: Desk):
    ended = desk.onboard("template", "preview", "--html", "--out", "mail.html")
    assert (ended.code, ended.out) == (0, "")
    assert "mail.html" in ended.err
    assert (desk.path / "mail.html").read_text("utf-8") + "\n" == desk.onboard("template", "preview", "--html").out


def test_a_place_that_cannot_be_written_to_is_exit_2(desk: Desk):
    ended = desk.onboard("template", "preview", "--out", "missing/mail.txt")
    assert (ended.code, ended.out) == (2, "")
    assert "--out" in ended.err


def test_a_template_that_is_not_there_is_exit_2_and_names_those_that_are(desk: Desk):
    ended = desk.onboard("template", "preview", "winter")
    assert (ended.code, ended.out) == (2, "")
    assert "'winter'" in ended.err
    assert "default" in ended.err


@pytest.fixture
def winter(desk: Desk):
    """Writes a template of the operator's own."""
    desk.change('# templates = "templates/"', 'templates = "templates/"')
    desk.change("# [invitations]", "[invitations]")

    def write(body: str) -> None:
        folder = desk.path / "templates" / "winter" / "en"
        folder.mkdir(parents=True)
        (folder / "subject.txt").write_text("Welcome back, {{ first_name }}")
        (folder / "body.txt").write_text(body)

    return write


def test_an_own_template_is_shown_by_its_name(desk: Desk, winter):
    winter("It is cold. {{ link }}")
    ended = desk.onboard("template", "preview", "winter")
    assert (ended.code, ended.out) == (0, f"Subject: Welcome back, Maria\n\nIt is cold. {LINK}\n")


def test_an_own_template_without_html_has_no_html_part_to_show(desk: Desk, winter):
    winter("It is cold. {{ link }}")
    ended = desk.onboard("template", "preview", "winter", "--html")
    assert (ended.code, ended.out) == (2, "")


def test_a_template_that_cannot_be_rendered_is_exit_2_with_its_place(desk: Desk, winter):
    winter("{{ nobody_knows }} {{ link }}")
    ended = desk.onboard("template", "preview", "winter")
    assert (ended.code, ended.out) == (2, "")
    assert "winter/en/body.txt" in ended.err


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_each_shell_gets_what_it_needs_without_a_configuration(bare: Desk, shell: str):
    ended = bare.onboard("completion", shell)
    assert (ended.code, ended.err) == (0, "")
    assert "_ONBOARD_COMPLETE" in ended.out
    assert f"{shell}_complete" in ended.out


def test_what_a_shell_is_given_completes_the_commands(bare: Desk):
    bare.environ |= {"_ONBOARD_COMPLETE": "bash_complete", "COMP_WORDS": "onboard re", "COMP_CWORD": "1"}
    ended = bare.run_process()  # Click writes bytes here
    assert {line.partition(",")[2] for line in ended.out.splitlines()} == {"report", "retry", "resolve", "resume"}


def test_another_shell_is_refused(bare: Desk):
    ended = bare.onboard("completion", "tcsh")
    assert (ended.code, ended.out) == (2, "")
