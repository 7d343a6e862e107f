"""`onboard web` as a process: events in, links out, beside a worker; and on SQLite beside `onboard run`."""

import hmac
import json
import signal
import subprocess
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from onboarding_sandbox.command import sandbox_webhooks
from tests.desk.desk import Desk, Played, customers
from tests.desk.own_redis import OwnRedis
from tests.suite.waiting import ENDS_WITHIN, wait_until

KEY = "an-invented-key-of-32-characters"
ROW = customers(1)[0]
EVENT = {"specversion": "1.0", "id": "7", "source": "/signup", "type": "onboarding.requested", "data": ROW}


@pytest.fixture
def office(desk: Desk, own_redis: OwnRedis, empty_postgresql_url: str) -> Desk:
    """A desk with PostgreSQL, a broker of its own, and a key for events."""
    desk.secret("database", empty_postgresql_url)
    desk.change('url = "sqlite:///onboarding.db"', 'url = { file = "secrets/database" }')
    desk.add(f'[broker]\nurl = "{own_redis.url}"\n')
    return with_key(desk)


def with_key(desk: Desk) -> Desk:
    desk.secret("events", KEY)
    desk.add('[web.senders.signup]\nkeys = [{ file = "secrets/events" }]\nlinks = true\n')
    return desk


def started(desk: Desk, *arguments: str) -> tuple[subprocess.Popen[str], str]:
    """The process, and where it listens."""
    process = desk.start("web", "--bind", "127.0.0.1:0", *arguments)
    assert process.stderr is not None
    for line in process.stderr:
        if line.startswith("listening on "):
            return process, line.split()[-1]
    raise AssertionError("it ended without listening")


def ask(url: str, event: Any = None, *, key: str = KEY, **headers: str) -> tuple[int, Any, Any]:
    given = {"Authorization": f"Bearer {key}", "Content-Type": "application/json"} | headers
    data = None if event is None else json.dumps(event).encode()
    request = urllib.request.Request(url, data=data, headers=given)  # noqa: S310 -- our own server
    try:
        with urllib.request.urlopen(request, timeout=ENDS_WITHIN) as answer:  # noqa: S310
            return answer.status, json.load(answer), answer.headers
    except urllib.error.HTTPError as error:
        with error:
            return error.code, json.load(error), error.headers


@pytest.fixture
def threads() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor() as made:
        yield made


def test_who_signs_a_customer_up_gets_the_link_while_a_worker_opens_the_session(office: Desk, played: Played):
    worker, (web, url) = office.start("worker"), started(office)
    status, body, headers = ask(f"{url}/events", EVENT, Prefer="wait=10")
    assert status in (200, 202)  # a worker that is still starting takes longer than anybody waits
    wait_until(lambda: ask(f"{url}{headers['Location']}")[1]["job"]["state"] == "invited", "the customer is invited")
    status, body, _ = ask(f"{url}/events", EVENT, Prefer="wait=10")
    assert (status, body["duplicate"]) == (200, True)
    (token,) = played.tokens
    assert token in body["link"]
    assert set(played.opened.values()) == {1}
    assert len(played.sandbox.mailbox) == 1
    ended = office.end(web, signal.SIGTERM), office.end(worker, signal.SIGTERM)
    for one in ended:
        assert one.code == 0
        assert not any(word in one.err + one.out for word in (token, KEY, "box0@", "Quirin", "Ostrander", "C-0000"))
    assert "POST /events 200" in ended[0].err


def test_accounts_that_would_believe_each_others_webhooks_are_warned_of_at_the_start(desk: Desk):
    # As two customers of the provider: the same key for their webhooks, and another host.
    desk.environ["ONBOARDING__ACCOUNTS__KYC_LT__BASE_URL"] = "http://127.0.0.1:9/idenfy"
    web = desk.start("web", "--bind", "127.0.0.1:0")
    assert web.stderr is not None
    lines = []
    while not lines or not lines[-1].startswith("listening on "):
        lines.append(web.stderr.readline())
        assert lines[-1], "it ended without listening"
    desk.end(web, signal.SIGTERM)
    for said in ("".join(lines), desk.onboard("check", desk.list_of(customers(1))).err):
        (warning,) = [line for line in said.splitlines() if line.startswith("warning: accounts.kyc-lt.webhook_keys: ")]
        assert "accounts.kyc has the same" in warning
        assert "sandbox-webhook-key" not in said


def test_a_customer_whom_a_person_plays_in_the_sandbox_is_approved(desk: Desk, played: Played):
    """As in the quickstart, on ports of its own: both forms of iDenfy KYC are heard at one address.

    What strangers reach has no credential of a provider.
    """
    away = desk.path / "away"
    away.mkdir()
    for secret in (desk.path / "secrets").iterdir():
        if "webhook" not in secret.name and secret.name != "twilio_token":
            secret.rename(away / secret.name)
    _, url = started(desk)
    for secret in away.iterdir():
        secret.rename(desk.path / "secrets" / secret.name)
    played.sandbox.options.webhooks.update(sandbox_webhooks(url))
    rows = customers(2)
    rows[0]["country"] = "LT"
    assert desk.onboard("run", desk.list_of(rows)).code == 0

    for token in played.tokens:
        form = urllib.request.Request(f"{played.sandbox.url}/verify/{token}", b"does=pass")  # noqa: S310 -- as above
        urllib.request.urlopen(form, timeout=ENDS_WITHIN).close()  # noqa: S310

    accounts = desk.onboard("status", "1", "--json").facts["accounts"]
    assert accounts.keys() == {"kyc", "kyc-lt"}
    wait_until(lambda: desk.onboard("status", "1", "--json").facts["results"].get("approved") == 2, "both are approved")


def test_on_sqlite_the_next_run_works_what_came_in_and_who_still_waits_is_answered_when_the_server_ends(
    desk: Desk, played: Played, threads: ThreadPoolExecutor
):
    web, url = started(with_key(desk))
    status, body, headers = ask(f"{url}/events", EVENT)
    assert (status, body["state"]) == (202, "taken")
    assert desk.onboard("run", desk.list_of(customers(2)[1:]), "--all").code == 0
    assert ask(f"{url}{headers['Location']}")[1]["job"]["state"] == "invited"
    assert ask(f"{url}/events", EVENT, Prefer="wait=2")[0] == 200

    another = EVENT | {"id": "8", "data": customers(3)[2]}
    waiting = threads.submit(ask, f"{url}/events", another, Prefer="wait=10")

    def is_in() -> bool:
        batches = desk.onboard("status", "--json").facts["batches"]
        return [batch["rows"]["waiting"] for batch in batches if batch["rows"]["waiting"]] == [1]

    wait_until(is_in, "it is in")
    ended = desk.end(web, signal.SIGTERM)
    status, body, _ = waiting.result(ENDS_WITHIN)
    assert (ended.code, status, body["state"]) == (0, 202, "taken")


def test_what_a_provider_decides_comes_into_the_batch_and_an_unmatched_webhook_is_listed(desk: Desk, played: Played):
    web, url = started(desk)
    rows = [row | {"country": "DE"} for row in customers(3)]
    assert desk.onboard("run", desk.list_of(rows)).code == 0
    told = {"url": f"{url}/webhooks/kyc", "twice": True, "forged": True}
    for row, does in zip(rows, ("finish", "deny", "review"), strict=True):
        opened = {"session": row["customer_id"], "does": does, "review": 0, **told}
        assert ask(f"{played.sandbox.url}/_sandbox/customers", opened)[0] == 202
    wait_until(lambda: desk.onboard("status", "latest", "--json").facts["rows"]["completed"] == 3, "all have finished")
    facts = desk.onboard("status", "latest", "--json").facts
    assert (facts["state"], facts["results"]) == ("finished", {"approved": 2, "denied": 1})
    assert [row["result"] for row in desk.onboard("report", "latest", "--format", "csv").table].count("denied") == 1

    stray = json.dumps({"final": True, "status": {"overall": "DENIED"}, "scanRef": "3f2a9c1d7e664b12"}).encode()
    signature = hmac.new(b"sandbox-webhook-key", stray, "sha256").hexdigest()
    post = urllib.request.Request(f"{url}/webhooks/kyc", stray, {"Idenfy-Signature": signature})  # noqa: S310
    with urllib.request.urlopen(post, timeout=ENDS_WITHIN) as answer:  # noqa: S310 -- our own server
        assert answer.status == 200
    waiting = ("events", "webhooks", "list", "--state", "waiting", "--json")
    wait_until(lambda: desk.onboard(*waiting).facts["webhooks"], "it is kept")
    (kept,) = desk.onboard(*waiting).facts["webhooks"]
    assert kept["ids"] == ["scanRef 3f2a…4b12"]
    # It may be about a session that is just being opened.
    none = "there is no webhook that is unknown or alert or broken; 1 waiting (1 for a session that is not known here)"
    assert none in desk.onboard("events", "webhooks", "list").out
    assert desk.onboard("events", "webhooks", "retry").out == "0 webhooks put back, to be processed again\n"
    assert desk.onboard("events", "webhooks", "retry", "7").code == 2
    ended = desk.end(web, signal.SIGTERM)
    assert ended.code == 0
    assert "1 refused (1 from 127.0.0.1); the last for account/kyc: no key of the account verifies its" in ended.err
    assert not any(word in ended.err for word in (*played.tokens, "3f2a9c1d7e664b12", "sandbox-webhook-key"))


def test_without_a_database_it_is_alive_but_not_ready_and_begins_by_itself(
    office: Desk, make_postgresql: Callable[[], str]
):
    office.secret("database", make_postgresql())  # without a table
    web, url = started(office)
    assert ask(f"{url}/healthz")[:2] == (200, {"alive": True})
    status, body, _ = ask(f"{url}/readyz")
    assert (status, body["detail"]) == (503, "the database is empty: run `onboard db upgrade`")
    assert ask(f"{url}/events", EVENT)[0] == 503
    assert office.onboard("db", "upgrade").code == 0
    wait_until(lambda: ask(f"{url}/readyz")[0] == 200, "it is ready")
    assert ask(f"{url}/events", EVENT)[0] == 202
    ended = office.end(web, signal.SIGTERM)
    assert ended.code == 0
    assert "the database is ready: taking events" in ended.err


def test_an_address_that_cannot_be_listened_on_stops_the_start(desk: Desk):
    assert "--bind: expected HOST:PORT" in desk.onboard("web", "--bind", "8080").err
    assert "a port up to 65535" in desk.onboard("web", "--bind", "127.0.0.1:80000").err
    taken = desk.onboard("web", "--bind", f"127.0.0.1:{desk_port(desk)}")
    assert (taken.code, "cannot be listened on" in taken.err) == (2, True)


def test_a_file_that_is_no_database_stops_the_start(desk: Desk):
    desk.write("onboarding.db", b"a list of customers, perhaps" * 100)
    ended = desk.onboard("web", "--bind", "127.0.0.1:0")
    assert (ended.code, "the database cannot be used" in ended.err) == (2, True)


def desk_port(desk: Desk) -> str:
    """The sandbox's port, which is in use."""
    return desk.config.read_text("utf-8").split("http://127.0.0.1:")[1].partition("/")[0]
