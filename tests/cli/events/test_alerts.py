"""`onboard alerts`: a test reaches each target, and the list shows what is not over."""

from collections.abc import Iterator

import pytest
from aiohttp import web

from tests.desk.desk import Desk, customers
from tests.publishers.listener import Listener


@pytest.fixture
def chat() -> Iterator[Listener]:
    async def answer(_request: web.Request) -> web.StreamResponse:
        return web.Response(status=200)

    listener = Listener(answer)
    yield listener
    listener.close()


def with_alerts(desk: Desk, url: str) -> None:
    file = desk.path / "onboarding.toml"
    more = (
        f'\n[alerts.chat]\ntype = "slack"\nurl = "{url}"\n[alerts.gone]\ntype = "json"\nurl = "http://127.0.0.1:1/x"\n'
    )
    file.write_text(file.read_text() + more)


def test_a_test_reaches_each_target_and_says_which_did_not_accept_it(desk: Desk, chat: Listener):
    with_alerts(desk, chat.url)

    one, both = desk.onboard("alerts", "test", "chat"), desk.onboard("alerts", "test", "--json")

    assert (one.code, one.out) == (0, "chat: accepted\n")
    assert both.code == 1
    assert both.facts["alerts"]["chat"] == {"accepted": True, "problem": ""}
    assert not both.facts["alerts"]["gone"]["accepted"]
    assert len(chat.got) == 2
    assert b"This is a test" in chat.got[0][1]


def test_a_name_that_is_not_there_is_said_with_those_that_are(desk: Desk, chat: Listener):
    assert "add [alerts.NAME]" in desk.onboard("alerts", "test").err
    with_alerts(desk, chat.url)
    ended = desk.onboard("alerts", "test", "crew")
    assert ended.code == 2
    assert "there is chat, gone" in ended.err


def test_without_alerts_nothing_needs_a_person(desk: Desk, chat: Listener):
    with_alerts(desk, chat.url)
    desk.onboard("run", desk.list_of(customers(2)))
    assert desk.onboard("alerts", "list", "--json").facts == {"alerts": []}


def test_the_list_does_not_say_that_nothing_needs_a_person_where_status_says_that_something_does(
    desk: Desk, chat: Listener
):
    desk.onboard("import", desk.list_of(customers(2)))
    desk.onboard("pause", "1")
    none = desk.onboard("alerts", "list")
    assert (none.out, "add [alerts.NAME]" in none.err) == ("", True)
    with_alerts(desk, chat.url)
    assert desk.onboard("alerts", "list").out == "no alert is open; `onboard status` says what needs a person\n"
    assert desk.onboard("status", "--check").out.startswith("WARNING: batch 1")


def test_an_address_that_anybody_may_read_is_refused(desk: Desk):
    with_alerts(desk, "https://hooks.example.com/T000/B000/secret")
    ended = desk.onboard("status")
    assert ended.code == 2
    assert "alerts.chat.url: who knows this address can write there" in ended.err
    assert "T000" not in ended.err
