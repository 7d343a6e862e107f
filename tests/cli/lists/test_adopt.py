"""`onboard import --adopt`: sessions that another tool opened become rows, and nothing is bought for them."""

import base64
import json
import signal
import tomllib
import urllib.request
from datetime import UTC, datetime, timedelta

import pytest

from tests.desk.desk import Desk, Played, Row, customers
from tests.suite.of_features import needs
from tests.suite.waiting import wait_until

HOURS = timedelta(hours=20)


def opened(desk: Desk, customer_id: str) -> tuple[str, str]:
    """Open a session at the provider as another tool does; returns its token and reference."""
    base = tomllib.loads(desk.config.read_text("utf-8"))["accounts"]["kyc"]["base_url"]
    key, secret = ((desk.path / "secrets" / name).read_text().strip() for name in ("idenfy_key", "idenfy_secret"))
    headers = {
        "Authorization": "Basic " + base64.b64encode(f"{key}:{secret}".encode()).decode(),
        "Content-Type": "application/json",
    }
    body = json.dumps({"clientId": customer_id, "expiryTime": 86400}).encode()
    request = urllib.request.Request(f"{base}/api/v2/token", body, headers)  # noqa: S310 -- the sandbox's address
    with urllib.request.urlopen(request, timeout=30) as answer:  # noqa: S310
        found = json.load(answer)
    return found["authToken"], found["scanRef"]


def exported(desk: Desk, rows: list[Row], *, life: timedelta = HOURS) -> list[Row]:
    """The rows as the other tool exports them, each with a session that is open for a day."""
    ends = (datetime.now(UTC) + life).isoformat(timespec="seconds")  # noqa: TID251 -- the provider's clock
    found = []
    for row in rows:
        token, reference = opened(desk, row["customer_id"])
        found.append(row | {"session_token": token, "session_reference": reference, "session_expires_at": ends})
    return found


def worked(desk: Desk) -> int:
    """Work all batches, and a list of one row alone, which buys its session; returns the exit code."""
    return desk.onboard(
        "run", desk.list_of([customers(1)[0] | {"customer_id": "alone", "channel": "none"}], "alone.csv"), "--all"
    ).code


def problems(desk: Desk) -> list[str]:
    return [json.loads(found)[0]["problem"] for (found,) in desk.sql("SELECT problems FROM skipped_line ORDER BY row")]


def test_open_sessions_become_invited_rows_without_a_paid_call_and_without_a_first_message(desk: Desk, played: Played):
    desk.add('[follow_up]\nreminders = ["2 hours"]\n')
    rows = exported(desk, customers(3))
    listed = desk.list_of(rows)
    bought = len(played.calls("idenfy-kyc"))

    first, again = desk.onboard("import", listed, "--adopt"), desk.onboard("import", listed, "--adopt")

    assert (first.code, again.code) == (0, 0)
    assert worked(desk) == 0
    assert desk.sql("SELECT state, count(*) FROM job WHERE batch_id = 1 GROUP BY state") == [("invited", 3)]
    assert desk.sql("SELECT count(*) FROM session WHERE state = 'waiting' AND check_at IS NOT NULL") == [
        (3,)
    ]  # each will be replaced at its end
    assert desk.sql("SELECT count(*) FROM invitation WHERE state = 'waiting'") == [(3,)]  # the reminders
    assert len(played.calls("idenfy-kyc")) == bought + 1  # of the row alone
    assert not played.message_ids
    assert not any(row["session_token"] in first.out + first.err for row in rows)


def test_an_adopted_session_is_replaced_in_the_brand_of_its_row_and_with_what_the_row_says(desk: Desk, played: Played):
    desk.change("[accounts.kyc]", '[accounts.kyc]\nper_row = ["checkAml"]')
    desk.add('[rights]\nlists = ["idenfy-kyc.checkAml"]\n[brand]\nname = "Example"\n[brand.nova]\nname = "Nova"\n')
    says = {"brand": "nova", "tags": "nova", "idenfy-kyc.checkAml": "false"}
    rows = [row | says for row in exported(desk, customers(1))]
    assert desk.onboard("import", desk.list_of(rows), "--adopt", "--invite").code == 0
    desk.sql("UPDATE session SET state = 'expired', check_at = NULL")
    desk.sql("UPDATE job SET state = 'waiting', due_at = created_at")

    assert worked(desk) == 0

    mail = played.sandbox.mailbox[-1].facts()
    assert mail["subject"].startswith("Nova: ")
    assert desk.sql("SELECT brand, sets FROM job WHERE batch_id = 1") == [("nova", "idenfy-kyc.checkAml")]
    assert [entry["client"] for entry in played.calls("idenfy-kyc")].count(rows[0]["customer_id"]) == 2


@needs("service_desk")
def test_of_an_adopted_customer_nothing_is_said_to_be_bought_or_sent(desk: Desk):
    rows = exported(desk, customers(1))
    assert desk.onboard("import", desk.list_of(rows), "--adopt").code == 0
    assert worked(desk) == 0

    shown = desk.onboard("customer", "show", rows[0]["customer_id"], "--json").facts
    assert shown["credits"] == {}
    told = " ".join(moment["text"] for moment in shown["timeline"])
    assert "no stored call opened" in told
    assert "counts as sent" in told
    assert desk.onboard("customer", "show", "alone", "--json").facts["credits"] == {"kyc": 1}
    period = desk.onboard("report", "--from", "2001-01-01", "--json").facts
    assert period["all"]["invited"] == 0


def test_rows_whose_session_is_not_open_are_rejected_with_the_reason_and_the_others_go_on(desk: Desk, played: Played):
    good, unknown, over, empty, other, no_list = exported(desk, customers(6))
    unknown |= {"session_reference": "00000000-0000-4000-8000-000000000000"}
    over |= {"session_expires_at": "2026-01-01T00:00:00Z"}
    empty |= {"session_token": ""}
    other |= {"session_token": good["session_token"]}
    no_list |= {"country": "AU", "entity_id": "8f8a4a3c-7d5f-4a52-b6f4-0d0a6ec8c0a1"}

    ended = desk.onboard("import", desk.list_of([good, unknown, over, empty, other, no_list]), "--adopt")

    assert ended.code == 1
    assert desk.sql("SELECT state, count(*) FROM job GROUP BY state") == [("invited", 1)]
    texts = problems(desk)
    for text, word in zip(texts, ("no such session", "has ended", "empty", "another session", "checked"), strict=True):
        assert word in text


def test_a_customer_with_a_live_session_here_is_rejected(desk: Desk, played: Played):
    assert desk.onboard("run", desk.list_of(customers(1))).code == 0

    ended = desk.onboard("import", desk.list_of(exported(desk, customers(2)), "theirs.csv"), "--adopt")

    assert ended.code == 1
    assert "live session" in problems(desk)[0]
    assert desk.sql("SELECT count(*) FROM session") == [(2,)]


def test_with_invite_each_customer_gets_one_first_message_with_the_adopted_link(desk: Desk, played: Played):
    listed = desk.list_of(exported(desk, customers(2)))
    bought = len(played.calls("idenfy-kyc"))

    assert desk.onboard("import", listed, "--adopt", "--invite").code == 0
    assert worked(desk) == 0

    assert {sum(ids.values()) for ids in played.message_ids.values()} == {1}
    assert len(played.message_ids) == 2
    assert len(played.calls("idenfy-kyc")) == bought + 1  # of the row alone


def test_an_adopted_session_that_has_ended_is_replaced_once_and_the_new_link_is_mailed(desk_at, play):
    ahead = timedelta()
    played = play(clock=lambda: datetime.now(UTC) + ahead)  # noqa: TID251 -- the provider's clock
    desk = desk_at(played)
    desk.change("[email]", '[follow_up]\nspacing = "0 s"\n\n[email]')
    listed = desk.list_of(exported(desk, customers(2)))
    bought = len(played.calls("idenfy-kyc"))
    assert desk.onboard("import", listed, "--adopt").code == 0
    (before,) = desk.sql("SELECT count(*) FROM session WHERE state = 'waiting'")
    assert (before, worked(desk)) == ((2,), 0)
    assert len(played.calls("idenfy-kyc")) == bought + 1  # of the row alone: the sessions live
    ahead = timedelta(days=2)  # their end, at the provider
    # As if they had ended an hour ago: a result may come for a quarter of an hour.
    ago = datetime.now(UTC) - timedelta(hours=1)  # noqa: TID251 -- the worker's clock
    desk.sql("UPDATE session SET expires_at = ?, check_at = ? WHERE customer_id <> 'alone'", *[f"{ago:%F %T.%f}"] * 2)
    for _ in range(2):  # each looks once as it starts
        process = desk.start("up", "--bind", "127.0.0.1:0")
        assert process.stderr is not None
        assert any(line.startswith("working") for line in process.stderr)
        wait_until(lambda: len(played.sandbox.mailbox) == 2, "the new links")
        assert desk.end(process, signal.SIGTERM).code == 0
    assert len(played.calls("idenfy-kyc")) == bought + 1 + 2
    assert desk.sql("SELECT state, count(*) FROM session GROUP BY state ORDER BY state") == [
        ("expired", 2),
        ("waiting", 3),
    ]
    assert {sum(ids.values()) for ids in played.message_ids.values()} == {1}
    assert {str(mail.message["Subject"]) for mail in played.sandbox.mailbox} == {
        "Example Bank: your new link to confirm your identity"
    }


def test_an_adopted_session_that_lives_longer_than_its_list_says_is_not_replaced(desk: Desk, played: Played):
    desk.change("[email]", '[follow_up]\nspacing = "0 s"\n\n[email]')
    assert desk.onboard("import", desk.list_of(exported(desk, customers(2))), "--adopt").code == 0
    bought = len(played.calls("idenfy-kyc"))
    # As if the list had named an hour ago as their end. At the provider they live for a day.
    ago = datetime.now(UTC) - timedelta(hours=1)  # noqa: TID251 -- the worker's clock
    desk.sql("UPDATE session SET expires_at = ?, check_at = ?", *[f"{ago:%F %T.%f}"] * 2)

    process = desk.start("up", "--bind", "127.0.0.1:0")
    wait_until(lambda: desk.sql("SELECT 1 FROM session WHERE expires_at < ?", f"{ago:%F %T.%f}z") == [], "the answers")
    wait_until(lambda: worked_on(desk) == [("invited", 2)], "the decisions")
    assert desk.end(process, signal.SIGTERM).code == 0
    assert len(played.calls("idenfy-kyc")) == bought
    assert desk.sql("SELECT state, count(*) FROM session GROUP BY state") == [("waiting", 2)]


def worked_on(desk: Desk) -> list[tuple[str, int]]:
    return desk.sql("SELECT state, count(*) FROM job GROUP BY state")


HOSTILE = {
    "no token": ("\u202eabc", "a\nb", "\x00a", "\ud800", "x" * 100_000, "\x1b[31m"),
    "text": ("https://evil.example/?a=", "../../etc/passwd", "t#f?x=1&y", "=HYPERLINK(1)", "%00%0a", "<script>"),
}


def test_a_hostile_token_is_refused_by_its_column_or_stays_inside_the_link(desk: Desk, played: Played):
    tokens = [*HOSTILE["no token"], *HOSTILE["text"]]
    rows = exported(desk, customers(len(tokens)))
    listed = desk.write(
        "export.jsonl",
        "".join(json.dumps(row | {"session_token": token}) + "\n" for row, token in zip(rows, tokens, strict=True)),
    )

    ended = desk.onboard("import", listed, "--adopt")

    assert ended.code == 1
    columns = [json.loads(found)[0]["column"] for (found,) in desk.sql("SELECT problems FROM skipped_line")]
    assert columns == ["session_token"] * len(HOSTILE["no token"])
    shown = desk.onboard("report", "latest", "--with-links", "--format", "jsonl")
    links = [json.loads(line)["link"] for line in shown.out.splitlines() if json.loads(line).get("link")]
    base = tomllib.loads(desk.config.read_text("utf-8"))["accounts"]["kyc"]["link"].partition("{token}")[0]
    assert len(links) == len(HOSTILE["text"])
    assert all(link.startswith(base) and set("/#?&<>=").isdisjoint(link.removeprefix(base)) for link in links)
    assert not any(token.strip() and token in ended.out + ended.err for token in tokens)


@pytest.mark.parametrize("options", [("--invite",), ("--adopt", "--per-hour", "5")])
def test_options_that_do_not_fit_are_refused(desk: Desk, options: tuple[str, ...]):
    assert desk.onboard("import", desk.list_of(customers(1)), *options).code == 2
