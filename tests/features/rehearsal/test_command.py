"""`onboard rehearse`: what a list would do, day by day, without a call, a message or a change anywhere."""

import csv
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from datetime import datetime

import pytest

from tests.desk.desk import DATABASE, Desk, Row, customers
from tests.suite.of_features import needs, of_features

TRAP = """
[database]
url = "sqlite:///onboarding.db"
[broker]
url = "amqp://127.0.0.1:{port}"
[bus]
url = "amqp://127.0.0.1:{port}"
[web]
base_url = "http://127.0.0.1:{port}"
[accounts.kyc]
provider = "idenfy-kyc"
base_url = "http://127.0.0.1:{port}"
api_key = {{ env = "NOT_HERE" }}
api_secret = {{ env = "NOT_HERE" }}
webhook_keys = [{{ env = "NOT_HERE" }}]
limits = ["2/second"]
price = "0.90 EUR"
{account}
[accounts.au]
provider = "frankieone-v2"
base_url = "http://127.0.0.1:{port}"
api_key = {{ env = "NOT_HERE" }}
customer_id = {{ env = "NOT_HERE" }}
link = "http://127.0.0.1:{port}/start#{{token}}"
[[routes]]
when = {{ country = "AU" }}
accounts = ["au"]
[[routes]]
accounts = ["kyc"]
[email]
url = "smtp://127.0.0.1:{port}"
from = "Example Bank <verify@example.com>"
price = "0.01 EUR"
[sms]
base_url = "http://127.0.0.1:{port}"
account = "AC1"
token = {{ env = "NOT_HERE" }}
from = "+37060000001"
[follow_up]
reminders = ["2 days"]
most = 1
""" + "".join(of_features("TRAPS"))
AT = ("--start-at", "2026-11-23T09:00Z")


@pytest.fixture
def trap() -> Iterator[socket.socket]:
    """A server that must see nothing."""
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen()
        listening.setblocking(False)
        yield listening
        with pytest.raises(BlockingIOError):
            listening.accept()


@pytest.fixture
def trapped(bare: Desk, trap: socket.socket) -> Desk:
    """A configuration of real accounts, all of whose addresses are the trap's, and whose secrets are not here."""
    port = trap.getsockname()[1]
    bare.write("onboarding.toml", TRAP.format(port=port, account=""))
    bare.write(DATABASE, b"the company's own database")
    return bare


def rows() -> list[Row]:
    """Ten by email, two of them known to FrankieOne, and one by text."""
    found = customers(10, au=2)
    return [*found, {"customer_id": "C-0010", "phone": "+37061234567", "country": "LT", "channel": "sms"}]


def test_each_process_rehearses_the_same(bare: Desk):
    """Python orders sets of text otherwise in each process, unless it is said how."""
    bare.write("onboarding.toml", TRAP.format(port=1, account=""))
    person = {"email": "a@example.org", "phone": "+37061234567", "country": "LT", "channel": "both"}
    path = bare.list_of([{"customer_id": f"C-{number}", **person} for number in range(3)])
    seeds = ("0", "4")  # a set has the text before the email with one of them, and after it with the other
    rehearsals = []
    for seed in seeds:
        words = ["rehearse", path, "--days", "3", "--never", "95%", "--leave", "0%", *AT, "--out", f"{seed}.csv"]
        call = f"import sys; sys.argv[1:] = {words}; from onboarding_worker.cli import main; main()"
        environ = os.environ | {"PYTHONHASHSEED": seed}
        rehearsals.append(
            subprocess.Popen([sys.executable, "-c", call], cwd=bare.path, env=environ, stdout=subprocess.DEVNULL)
        )
    assert [one.wait() for one in rehearsals] == [0, 0]
    one, other = ((bare.path / f"{seed}.csv").read_text() for seed in seeds)
    assert one == other
    assert ",sms," in one


def test_a_rehearsal_touches_no_server_and_no_database_of_the_configuration(trapped: Desk):
    path = trapped.list_of(rows())
    ended = trapped.onboard("rehearse", path, "--days", "9", *AT, "--out", "calendar.csv", "--json")

    assert ended.code == 0, ended.err
    assert (trapped.path / DATABASE).read_bytes() == b"the company's own database"
    assert sorted(file.name for file in trapped.path.iterdir()) == ["calendar.csv", path, DATABASE, "onboarding.toml"]
    facts = ended.facts
    events = facts["events"]
    assert (events["session"], events["invitation"]) == (11, 11)
    assert events["finished"] + events["new session"] >= 9  # FrankieOne has no webhooks here, so nobody finishes there
    assert facts["credits"] == {"kyc": 9 + events["new session"] - 2, "au": 4}
    assert facts["messages"]["sms"] >= 1
    assert facts["without_price"] == ["au", "sms"]
    paid = facts["credits"]["kyc"] * 90 + facts["messages"]["email"]
    assert facts["cost"] == {"EUR": f"{paid / 100:.2f}"}
    assert facts["not_heard"] == ["au"]
    peaks = {tuple(peak["names"]): peak["limits"][0] for peak in facts["peaks"] if peak["limits"]}
    assert peaks["kyc",] == {"limit": "2/second", "most": 2}
    assert sum(day["events"].get("finished", 0) for day in facts["days"]) == events["finished"]

    with (trapped.path / "calendar.csv").open() as file:
        lines = list(csv.DictReader(file))
    assert len(lines) == sum(events.values())
    first = [(line["customer_id"], line["what"], line["channel"]) for line in lines if line["day"] == "1"]
    assert ("C-0010", "invitation", "sms") in first
    text = (trapped.path / "calendar.csv").read_text() + ended.out
    assert all(word not in text for word in ("example.com", "61234567", "Ostrander", "Quirin"))
    assert all(datetime.fromisoformat(line["at"]) for line in lines)


def test_people_see_the_days_the_peaks_and_what_would_need_a_person(trapped: Desk):
    trapped.change('price = "0.90 EUR"', 'price = "0.90 EUR"\ncredits = 6')
    ended = trapped.onboard("rehearse", trapped.list_of(customers(9)), "--first", "8", "--days", "2", *AT)

    assert ended.code == 1
    out = ended.out
    assert out.startswith(
        "rehearsal of customers.csv: the first 8 rows (--first), 2026-11-23T09:00:00Z to 2026-11-25T09:00:00Z, seed 1\n"
    )
    assert "60 % finish, 5 % are denied, 5 % start and leave, 30 % never come" in out
    assert "  1  2026-11-23 Mon         6        6" in out
    assert "cost: 5.46 EUR" in out
    assert "peak of kyc: 2 in a second (2 of 2/second)" in out
    assert "2 rows would still wait for their first message at the end" in out
    assert "needs a person: account kyc: " in out
    assert out.endswith("took the place of providers and senders\n")


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (("--finish", "70%", "--never", "40%"), "must be all customers"),
        (("--finish", "99%"), "must be all customers"),
        (("--finish", "0.6"), 'expected a share of the customers such as "60%"'),
        (("--within", "30 minutes"), "--within is more than an hour"),
    ],
)
def test_shares_that_are_not_all_customers_are_refused(trapped: Desk, words: tuple[str, ...], why: str):
    ended = trapped.onboard("rehearse", trapped.list_of(customers(1)), *words)
    assert (ended.code, ended.out) == (2, "")
    assert why in ended.err


def test_customers_come_after_their_message_so_without_one_they_do_not(trapped: Desk):
    rows = customers(2)
    rows[0]["channel"], rows[1]["channel"] = "email", "none"
    words = ("--days", "5", "--finish", "100%", "--deny", "0%", "--leave", "0%", "--json", *AT)

    events = trapped.onboard("rehearse", trapped.list_of(rows), *words).facts["events"]

    assert (events["session"], events["invitation"], events["finished"]) == (2, 1, 1)


@needs("stable_links")
def test_sessions_that_are_bought_on_click_cost_nothing_before_customers_press(trapped: Desk):
    trapped.change("[web]\n", '[links]\nmode = "stable"\nissue = "on-click"\n[web]\n')
    words = ("--days", "5", "--finish", "50%", "--deny", "0%", "--leave", "0%", "--within", "2 days", *AT)
    path = trapped.list_of(rows())
    shown, ended = (trapped.onboard("rehearse", path, *words, *form) for form in ((), ("--json",)))

    assert (shown.code, ended.code) == (0, 0), ended.err
    assert "they come 1 hour to 2 days after their message" in shown.out
    facts = ended.facts
    sessions = facts["events"]["session"]
    assert 0 < sessions == facts["events"]["finished"] + facts["credits"].get("au", 0) < 11
    assert facts["events"]["invitation"] == 11
    # Each is bought at the hour of its own customer.
    assert max(peak["per_second"] for peak in facts["peaks"] if "email" not in peak["names"]) == 1
    assert sum(day["events"].get("session", 0) > 0 for day in facts["days"]) > 1
