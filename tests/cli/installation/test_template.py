"""`template preview` and `completion`: what needs no database."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from click.shell_completion import ShellComplete

from onboarding_worker.cli.registry import COMMANDS, main_group
from tests.desk.desk import Desk, customers

LINK = "https://verify.example.com/sample"
LOCALES = ("en", "de", "es", "fr", "lt")
GREETED = "Maria"


def preview(desk: Desk, *options: str) -> str:
    """What is shown, without the end of the sample link: the minute may change between two previews."""
    return without_clock(desk.onboard("template", "preview", *options).out)


def without_clock(shown: str) -> str:
    return re.sub(r"\d+\.? \w+ \d{4}, \d\d:\d\d", "DAY, HH:MM", shown)


def test_an_email_is_shown_in_each_language(desk: Desk, subtests: pytest.Subtests):
    desk.without_database()
    for locale in LOCALES:
        with subtests.test(locale=locale):
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


def test_a_text_is_short_and_has_no_subject(desk: Desk, subtests: pytest.Subtests):
    for locale in LOCALES:
        with subtests.test(locale=locale):
            ended = desk.onboard("template", "preview", "--channel", "sms", "--locale", locale)
            assert ended.code == 0
            assert LINK in ended.out
            assert "Subject" not in ended.out
            assert len(ended.out) < 320


def test_the_html_part_is_shown_in_each_language(desk: Desk, subtests: pytest.Subtests):
    for locale in LOCALES:
        with subtests.test(locale=locale):
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
    assert preview(desk, "--locale", "fi") == preview(desk)
    assert preview(desk, "--locale", "de-AT") == preview(desk, "--locale", "de")


def test_a_preview_is_written_where_it_is_asked_for(desk: Desk):
    ended = desk.onboard("template", "preview", "--html", "--out", "mail.html")
    assert (ended.code, ended.out) == (0, "")
    assert "mail.html" in ended.err
    assert without_clock((desk.path / "mail.html").read_text("utf-8")) + "\n" == preview(desk, "--html")


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


def test_each_shell_gets_what_it_needs_without_a_configuration(bare: Desk, subtests: pytest.Subtests):
    for shell in ["bash", "zsh", "fish"]:
        with subtests.test(shell=shell):
            ended = bare.onboard("completion", shell)
            assert (ended.code, ended.err) == (0, "")
            assert "_ONBOARD_COMPLETE" in ended.out
            assert f"{shell}_complete" in ended.out


def test_what_a_shell_is_given_completes_the_commands(bare: Desk):
    bare.environ |= {"_ONBOARD_COMPLETE": "bash_complete", "COMP_WORDS": "onboard re", "COMP_CWORD": "1"}
    ended = bare.run_process()  # Click writes bytes here
    offered = {line.partition(",")[2] for line in ended.out.splitlines()}
    assert offered == {name for name in COMMANDS if name.startswith("re")}
    assert offered > {"report", "retry"}


def test_another_shell_is_refused(bare: Desk):
    ended = bare.onboard("completion", "tcsh")
    assert (ended.code, ended.out) == (2, "")


def test_a_shell_completes_commands_batches_and_accounts(
    desk: Desk, monkeypatch: pytest.MonkeyPatch, subtests: pytest.Subtests
):
    desk.onboard("import", desk.list_of(customers(1)))
    monkeypatch.chdir(desk.path)
    for typed, offered in [
        ("onboard rep", ["report"]),
        ("onboard report ", ["latest", "1"]),
        ("onboard resolve l", ["latest"]),
        ("onboard retry 1 --account ky", ["kyc", "kyc-lt", "kyb"]),
        ("onboard account resume e", ["email"]),
        ("onboard status --j", ["--json"]),
    ]:
        with subtests.test(typed=typed, offered=offered):
            assert completed(typed) == offered


def test_what_cannot_be_read_completes_nothing(bare: Desk, monkeypatch: pytest.MonkeyPatch):
    bare.write("onboarding.toml", "not TOML")
    monkeypatch.chdir(bare.path)

    assert completed("onboard report ") == ["latest"]


def completed(typed: str) -> list[str]:
    """What the shell is given for the last word."""
    _, *words, incomplete = typed.split(" ")
    shell = ShellComplete(main_group, {}, "onboard", "_ONBOARD_COMPLETE")
    return [item.value for item in shell.get_completions(words, incomplete)]


def test_completing_a_command_s_name_loads_no_command(bare: Desk):
    bare.environ |= {"_ONBOARD_COMPLETE": "bash_complete", "COMP_WORDS": "onboard sta", "COMP_CWORD": "1"}
    call = (
        "import sys; from onboarding_worker.cli import main\ntry:\n  main()\nfinally:\n"
        "  print([name for name in sys.modules if name.startswith('onboarding_worker.cli.commands')], file=sys.stderr)"
    )

    ended = subprocess.run(
        [sys.executable, "-c", call], env={**os.environ, **bare.environ}, capture_output=True, text=True, check=True
    )

    assert (ended.stdout, ended.stderr) == ("plain,status\n", "[]\n")


KINDS = {"invitation": "Please confirm", "reminder": "friendly reminder", "new_link": "Your new link replaces"}


def test_each_kind_of_message_is_shown(desk: Desk):
    shown = {one: desk.onboard("template", "preview", "--html", "--kind", one).out for one in KINDS}
    assert [kind for kind, words in KINDS.items() if words not in shown[kind]] == []
    assert len(set(shown.values())) == 3


ROWS = (
    "customer_id,first_name,email,phone,channel,locale,country,template\n"
    "C-2,Ona,ona@example.com,,,lt,LT,\n"
    "C-3,Jürgen,,+4915112345678,sms,de,DE,\n"
    "C-4,Ann,nobody,,,en,LT,\n"
)


def test_a_row_of_a_list_is_shown_in_its_language_on_its_channel_with_an_example_link(desk: Desk):
    rows = desk.write("rows.csv", ROWS)
    mail = desk.onboard("template", "preview", "--row", "2", rows)
    assert mail.code == 0
    assert "Laba diena, Ona!" in mail.out
    assert "(EET)" in mail.out  # by the clock of Lithuania
    assert LINK in mail.out
    text = desk.onboard("template", "preview", "--row", "3", rows)
    assert text.out.startswith("Example Bank: Bitte")
    assert "(CET)" in text.out
    other = desk.onboard("template", "preview", "--row", "3", rows, "--channel", "email", "--locale", "fr")
    assert "Bonjour Jürgen," in other.out


@pytest.mark.parametrize(
    ("row", "why"),
    [("4", "row 4 would be rejected: email: 6 characters without an @"), ("5", "there is no row 5 in rows.csv")],
)
def test_a_row_that_gets_no_message_is_exit_2_and_says_why(desk: Desk, row: str, why: str):
    ended = desk.onboard("template", "preview", "--row", row, desk.write("rows.csv", ROWS))
    assert (ended.code, ended.out) == (2, "")
    assert why in ended.err
    assert "nobody" not in ended.err


def test_a_row_that_is_wrong_as_a_whole_is_named_without_the_colon_of_a_column(desk: Desk):
    rows = desk.write("long.csv", "customer_id,email\nC-1,a@example.com,too,much\n")
    ended = desk.onboard("template", "preview", "--row", "2", rows)
    assert "row 2 would be rejected: 4 cells, but the header has 2" in ended.err


def test_open_shows_the_message_in_the_browser_and_keeps_it_from_others(desk: Desk):
    browser = desk.path / "browser"
    browser.write_text(f'#!/bin/sh\nprintf %s "$1" > "{desk.path}/opened"\n')
    browser.chmod(0o700)
    desk.environ["BROWSER"] = str(browser)
    ended = desk.run_process("template", "preview", "--open", "--row", "2", desk.write("rows.csv", ROWS))
    assert (ended.code, ended.out) == (0, "")
    page = Path((desk.path / "opened").read_text().removeprefix("file://"))
    assert page.stat().st_mode & 0o077 == 0
    assert "Patvirtinti tapatybę" in page.read_text("utf-8")
    page.unlink()


def test_export_writes_the_built_in_texts_and_they_are_used_as_they_were(desk: Desk):
    desk.change('# templates = "templates/"', 'templates = "templates/"')
    desk.change("# [invitations]", "[invitations]")
    (desk.path / "templates").mkdir()
    before = preview(desk, "--html")
    ended = desk.onboard("template", "export", "--locale", "en", "--layout")
    assert ended.code == 0
    root = desk.path / "templates"
    assert {str(path.relative_to(root)) for path in root.rglob("*.*")} == {
        "layout.html",
        "page.html",
        *(f"default/en/{part}" for part in ("subject.txt", "body.txt", "body.html", "sms.txt", "page.html")),
    }
    assert preview(desk, "--html") == before
    body = root / "default/en/body.html"
    body.write_text(body.read_text("utf-8").replace("Confirm my identity", "Go on"), encoding="utf-8")
    assert ">Go on</a>" in desk.onboard("template", "preview", "--html").out
    assert desk.onboard("check", desk.write("rows.csv", ROWS.replace("nobody", "ann@example.com"))).code == 0


def test_export_overwrites_nothing_unless_it_is_told_to(desk: Desk):
    root = desk.path / "templates"
    (root / "vip/de").mkdir(parents=True)
    mine = root / "vip/de/sms.txt"
    mine.write_text("mine")
    refused = desk.onboard("template", "export", "vip")
    assert (refused.code, refused.out) == (2, "")
    assert "--force" in refused.err
    assert [path for path in root.rglob("*.*")] == [mine]
    assert mine.read_text() == "mine"
    forced = desk.onboard("template", "export", "vip", "--force")
    assert forced.code == 0
    assert len(forced.out.splitlines()) == 25
    assert '[invitations] templates = "templates/"' in forced.err
    assert mine.read_text() != "mine"


def test_export_writes_nowhere_else(desk: Desk, subtests: pytest.Subtests):
    for name in ["../vip", "builtin", "a/b", ".", "x" * 65]:
        with subtests.test(name=name):
            ended = desk.onboard("template", "export", name)
            assert (ended.code, ended.out) == (2, "")
            assert not (desk.path / "templates").exists()


def test_the_brand_is_in_the_message_without_any_template(desk: Desk):
    desk.add(
        '[brand]\nname = "Bank of Vilnius"\nlogo = "https://cdn.example.com/logo.png"\ncolour = "#FFD400"\n'
        'footer = "Bank AB\\nGedimino 1"\nsupport = "help@example.com"\n'
    )
    html = desk.onboard("template", "preview", "--html").out
    assert 'src="https://cdn.example.com/logo.png"' in html
    assert "mailto:help@example.com" in html
    assert "#ffd400" in html
    text = desk.onboard("template", "preview").out
    assert text.startswith("Subject: Bank of Vilnius: ")
    assert text.endswith("Bank of Vilnius\n\nBank AB\nGedimino 1\n")
    assert desk.onboard("template", "preview", "--channel", "sms").out.startswith("Bank of Vilnius: ")


def test_a_brand_that_could_break_a_message_stops_the_start(desk: Desk, subtests: pytest.Subtests):
    before = desk.config.read_text("utf-8")
    for line in [
        'logo = "http://cdn.example.com/logo.png"',
        'logo = "https://cdn.example.com/a b.png"',
        "logo = 'https://cdn.example.com/\"onload=x'",
        'logo = "https://user:secret@cdn.example.com/logo.png"',
        'colour = "red"',
        'colour = "#12345"',
        'colour = "#123456;x:y"',
        'name = "Bank\\nX"',
        'footer = "1\\n2\\n3\\n4\\n5\\n6\\n7"',
        'motto = "x"',
    ]:
        with subtests.test(line=line):
            desk.config.write_text(f"{before}\n[brand]\n{line}\n", "utf-8")
            ended = desk.onboard("template", "preview")
            assert (ended.code, ended.out) == (2, "")
            assert ended.err.startswith("brand." + line.partition(" ")[0])


def test_check_refuses_a_mail_with_an_empty_button_and_says_what_to_write(desk: Desk):
    desk.change('# templates = "templates/"', 'templates = "templates/"')
    desk.change("# [invitations]", "[invitations]")
    folder = desk.path / "templates" / "default" / "en"
    folder.mkdir(parents=True)
    rows = desk.write("rows.csv", ROWS.replace("nobody", "ann@example.com"))
    body = folder / "body.html"
    body.write_text('{% extends "layout.html" %}{% block heading %}Hello{% endblock %}')
    assert desk.onboard("check", rows).code == 0  # the other blocks keep the built-in words
    body.write_text(
        '{% extends "layout.html" %}{% block button %}{% if kind != "reminder" %}Go{% endif %}{% endblock %}'
    )
    ended = desk.onboard("check", rows)
    assert ended.code == 1
    assert "default/en/body.html: the block button is empty in the reminder" in ended.err
    assert "{% block button %}" in ended.err


def test_check_warns_of_a_vendors_value_that_an_answer_may_lack_and_refuses_nothing(desk: Desk):
    desk.change('# templates = "templates/"', 'templates = "templates/"')
    desk.change("# [invitations]", "[invitations]")
    folder = desk.path / "templates" / "default" / "en"
    folder.mkdir(parents=True)
    (folder / "body.txt").write_text("{{ link }} {{ vendor.code }}", encoding="utf-8")
    checked = desk.onboard("check", desk.list_of(customers(1)))
    assert checked.code == 0, checked.err
    assert (
        "warning: template: default/en/body.txt, line 1: vendor.code is empty where an answer lacks it" in checked.err
    )


def test_the_page_behind_a_stable_link_is_shown_like_a_message(desk: Desk):
    page = desk.onboard("template", "preview", "--page", "ask", "--locale", "de").out
    assert "Weiter zur Prüfung" in page
    assert (
        "<h1>Vielen Dank, Sie sind fertig</h1>"
        in desk.onboard("template", "preview", "--page", "done", "--locale", "de").out
    )
    refused = desk.onboard("template", "preview", "--page", "nowhere")
    assert (refused.code, "'ask', 'again'" in refused.err) == (2, True)
