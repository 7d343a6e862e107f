"""What `run` shows on a terminal before it sends, and when it asks."""

import io
import re
import sys

import pytest

from tests.desk.desk import Desk, Played, customers
from tests.suite.of_features import needs


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture
def at_a_terminal(monkeypatch: pytest.MonkeyPatch):
    """The person types this at the terminal."""
    return lambda text: monkeypatch.setattr(sys, "stdin", Terminal(text))


def test_a_run_shows_what_would_leave_and_sends_nothing_after_a_no(desk: Desk, played: Played, at_a_terminal):
    desk.change("[accounts.kyc]\n", '[accounts.kyc]\nprice = "0.90 EUR"\n')
    desk.add('[invitations]\nquiet_hours = { sms = "21:00-08:00" }\n')
    at_a_terminal("n\n")
    rows = customers(5, au=1)
    rows[4]["email"] = rows[0]["email"]

    refused = desk.onboard("run", desk.list_of(rows))

    assert refused.code == 1
    for words in (
        "customers.csv: 5 rows, 0 rejected, 0 duplicate",
        "warning: row 6, email: the same mailbox as row 2",
        "5 mails to 2 countries, from ",
        "languages: en 5 (5 without a language)",
        "sessions now: au 1, kyc 4; at most, with every reissue: au 4, kyc 16",
        "cost now: 3.60 EUR",
        "cost at most: 14.40 EUR",
        "without a price, and so not in it: au, email",
        "quiet hours on sms: 21:00-08:00",
        "the first one (row 2, email, en):",
        "  | Subject: ",
        "https://verify.example.com/sample",
        "nothing was changed",
    ):
        assert words in refused.err, refused.err
    assert played.calls() == []
    assert desk.onboard("status", "--json").facts["batches"] == []


def test_a_list_that_has_begun_to_leave_goes_on_without_a_question(desk: Desk, played: Played, at_a_terminal):
    name = desk.list_of(customers(3))
    at_a_terminal("y\n")
    assert desk.onboard("run", name).code == 0
    assert len(played.sandbox.mailbox) == 3

    at_a_terminal("")
    assert desk.onboard("run", name).code == 0
    at_a_terminal("n\n")
    assert desk.onboard("run", name, "--again").code == 1


def test_no_question_is_asked_with_yes_or_without_a_terminal(desk: Desk, played: Played, at_a_terminal):
    at_a_terminal("")
    assert desk.onboard("run", desk.list_of(customers(2)), "--yes").code == 0
    assert len(played.sandbox.mailbox) == 2


def test_an_imported_list_of_which_nothing_has_left_is_asked_about_with_its_plan(
    desk: Desk, played: Played, at_a_terminal
):
    name = desk.list_of(customers(4))
    desk.onboard("import", name, "--first", "2")
    at_a_terminal("n\n")

    refused = desk.onboard("run", name)

    assert refused.code == 1
    assert "the first 2, the rest when a person resumes" in refused.err
    assert played.calls() == []


def test_a_pilot_is_priced_and_so_is_the_rest(desk: Desk, played: Played, at_a_terminal):
    """The pilot has the first of the rows that need a session, as they stand in the list."""
    desk.change("[accounts.kyc]\n", '[accounts.kyc]\nprice = "0.90 EUR"\n')
    desk.change("[accounts.au]\n", '[accounts.au]\nprice = "2.00 AUD"\n')
    at_a_terminal("y\n")
    desk.onboard("run", desk.list_of(customers(1)))
    at_a_terminal("n\n")

    refused = desk.onboard("run", desk.list_of(customers(9, au=3)[::-1], "more.csv"), "--first", "20%")

    assert refused.code == 1
    for words in (
        "cost in all: 4.00 AUD, 5.40 EUR",
        "pilot: 2 rows; cost now: 1.80 EUR; cost at most: 7.20 EUR",
        "rest: 6 rows; cost later: 4.00 AUD, 3.60 EUR; cost at most: 16.00 AUD, 14.40 EUR",
    ):
        assert words in refused.err, refused.err


def test_only_what_would_leave_is_counted_and_shown(desk: Desk, played: Played, at_a_terminal):
    """A customer who has a session gets no other one: neither the number nor the first message is theirs."""
    at_a_terminal("y\n")
    desk.onboard("run", desk.list_of(customers(2, au=1)))
    at_a_terminal("n\n")

    shown = desk.onboard("run", desk.list_of(customers(3, au=1), "more.csv")).err

    assert "  1 mail to 1 country, from " in shown
    assert "the first one (row 4, email, en):" in shown
    assert "+15005550006" not in shown


STABLE = '[web]\nbase_url = "https://onboard.example.com"\n[links]\nmode = "stable"\n'


@pytest.mark.parametrize(
    ("account", "more"),
    [('lifetime = "2 days"', ""), pytest.param('lifetime = "7 days"', STABLE, marks=needs("stable_links"))],
)
def test_the_first_message_says_how_long_its_link_lives(desk: Desk, played: Played, at_a_terminal, account, more):
    desk.change("[accounts.kyc]\n", f"[accounts.kyc]\n{account}\n")
    desk.add(more)
    at_a_terminal("y\n")

    ended = desk.onboard("run", desk.list_of(customers(1)))

    until = re.compile(r"valid until (\d+ \w+ \d+)")
    (mail,) = played.sandbox.mailbox
    assert until.findall(ended.err) == until.findall(mail.text) != []
