"""With a sender that does not work, not one session is bought: `run`, and `check --online` beforehand."""

import pytest

from tests.desk.desk import Desk, Played, customers
from tests.suite import of_features


def with_login(desk: Desk, played: Played, password: str) -> None:
    if "secrets/smtp" not in desk.config.read_text("utf-8"):
        desk.change(f'"smtp://127.0.0.1:{played.sandbox.smtp_port}"', '{ file = "secrets/smtp" }')
    desk.secret("smtp", f"smtp://me:{password}@127.0.0.1:{played.sandbox.smtp_port}")


def forget_pauses(desk: Desk) -> None:
    """As after the end of each pause."""
    desk.sql("UPDATE budget SET blocked_until = '2026-01-01 00:00:00.000000'")


def texts(number: int) -> list[dict[str, str]]:
    return [row | {"channel": "sms", "phone": f"+3706000{n:04}"} for n, row in enumerate(customers(number))]


def test_with_a_wrong_mail_password_nothing_is_bought_and_the_next_run_goes_on(desk_at, play):
    played = play(smtp_user="me", smtp_password="right")
    desk = desk_at(played)
    with_login(desk, played, "wrong")
    listed = desk.list_of(customers(30))
    why = f"127.0.0.1:{played.sandbox.smtp_port}: SMTP 535 5.7.8 at AUTH: Authentication credentials invalid"
    why += "; correct the user or the password in email.url (the file secrets/smtp)"

    checked = desk.onboard("check", listed, "--online")
    assert checked.code == 1
    assert f"email: {why}\n" in checked.out
    assert "\nkyc: works\n" in checked.out
    assert played.opened.total() == 0

    ended = desk.onboard("run", listed, "--json")
    assert (ended.code, ended.facts["rows"]["waiting"], played.opened.total()) == (1, 30, 0)
    assert f"email is stopped: {why}" in ended.err
    assert "wrong" not in ended.out + ended.err + checked.out

    with_login(desk, played, "right")
    stopped = desk.onboard("check", listed)
    assert (stopped.code, "; fix it and run again\n" in stopped.out) == (1, True)
    mended = desk.onboard("check", listed, "--online")
    assert (mended.code, "cannot finish" in mended.out, "email: works\n" in mended.out) == (0, False, True)
    again = desk.onboard("run", listed, "--json")
    assert (again.code, again.facts["rows"]["invited"]) == (0, 30)
    assert set(played.opened.values()) == {1}


def test_with_a_closed_port_nothing_is_bought_and_the_run_ends_with_3(desk: Desk, played: Played):
    working = f"smtp://127.0.0.1:{played.sandbox.smtp_port}"
    desk.change(working, "smtp://127.0.0.1:1")
    ended = desk.onboard("run", desk.list_of(customers(30)), "--patience", "1 s", "--json")
    assert (ended.code, ended.facts["rows"]["waiting"], played.opened.total()) == (3, 30, 0)
    assert "email does not work: 127.0.0.1:1: SMTP connection refused at connect" in ended.err
    assert "30 rows wait, the first until 20" in ended.err
    forget_pauses(desk)
    silent = "127.0.0.1:1: SMTP connection refused at connect"
    assert f"\nemail is silent: no answer at the last call: {silent}\n" in desk.onboard("account", "list").out
    assert f"\nemail did not answer the last call: {silent}\n" in desk.onboard("status").out
    desk.change("smtp://127.0.0.1:1", working)
    assert desk.onboard("run", "customers.csv", "--json").facts["rows"]["invited"] == 30


def test_with_a_wrong_token_no_session_is_bought_for_a_text(desk: Desk, played: Played):
    desk.secret("twilio_token", "wrong")
    ended = desk.onboard("run", desk.list_of(texts(5) + customers(9)[5:]), "--json")
    assert (ended.code, ended.facts["rows"]["waiting"], ended.facts["rows"]["invited"]) == (1, 5, 4)
    refused = "sms is stopped: Twilio HTTP 401 20003: the log-in is refused"
    assert f"{refused}; correct sms.account or sms.token (the file" in ended.err
    assert {entry["endpoint"] for entry in played.calls() if entry["status"] == 401} == {"twilio-account"}
    assert played.opened.total() == 4


@pytest.mark.parametrize(("rows", "asked"), [(customers(2), set()), (texts(2), {"twilio-account", "twilio"})])
def test_only_the_senders_of_the_list_are_asked(desk: Desk, played: Played, rows, asked):
    assert desk.onboard("run", desk.list_of(rows)).code == 0
    assert {entry["endpoint"] for entry in played.calls() if entry["endpoint"].startswith("twilio")} == asked


def test_online_asks_nothing_that_opens_a_session(desk: Desk, played: Played):
    listed = desk.list_of([*customers(3, au=1), texts(4)[3]])
    ended = desk.onboard("check", listed, "--online", "--json")
    assert ended.code == 0
    assert ended.facts["online"] == {
        "email": "works",
        "sms": "works",
        "au": "can be reached; not asked more: its provider has no call that opens nothing",
        "kyc": "works",
    }
    assert {entry["endpoint"] for entry in played.calls()} == {"twilio-account", "idenfy-kyc-list"}
    desk.secret("idenfy_secret", "wrong")
    refused = desk.onboard("check", listed, "--online", "--json")
    assert (refused.code, "401" in refused.facts["online"]["kyc"]) == (1, True)


@of_features.needs("doctor")
def test_of_an_account_that_does_not_work_online_says_which_command_tells_what_to_correct(desk: Desk):
    desk.secret("idenfy_secret", "wrong")
    shown = desk.onboard("check", desk.list_of(customers(3)), "--online").out
    assert [line for line in shown.splitlines() if line.startswith("kyc: ") and "`onboard doctor`" in line]


def test_a_sender_whose_ramp_is_used_up_is_named_with_it_wherever_its_rows_wait(desk: Desk, played: Played):
    desk.change("[email]", '[email]\nramp = "1/day x2"')
    assert desk.onboard("run", desk.list_of(customers(1))).code == 0
    ended = desk.onboard("run", desk.list_of(customers(9)[1:], "second.csv"), "--patience", "1 s")
    assert ended.code == 3
    used = "its ramp of 1/day x2, today 1/day"
    listed = desk.onboard("account", "list").out
    assert "\nemail is waiting until 20" in listed
    assert f": it has used up {used}\n" in listed
    assert f"the sender email has used up {used}, until 20" in desk.onboard("status", "latest").out
    waits = [row for row in desk.onboard("report", "latest").table if row["error"].startswith("waits_for_sender")]
    assert waits
    for row in waits:
        assert f"the sender email has used up {used}, until 20" in row["error"]
