"""`onboard import --adopt`: sessions that another tool opened become rows, and nothing is bought for them."""

import base64
import json
import tomllib
import urllib.request
from datetime import UTC, datetime, timedelta

import pytest

from tests.desk.desk import Desk, Played, Row, customers

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
    """The rows as the other tool exports them, each with a session that is open."""
    ends = (datetime.now(UTC) + life).isoformat(timespec="seconds")  # noqa: TID251 -- the provider's clock
    found = []
    for row in rows:
        token, reference = opened(desk, row["customer_id"])
        found.append(
            row | {"session_token": token, "session_reference": reference, "session_expires_at": ends, "account": "kyc"}
        )
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


def test_rows_whose_session_is_not_open_are_rejected_with_the_reason_and_the_others_go_on(desk: Desk, played: Played):
    good, unknown, over, empty, other, no_list = exported(desk, customers(6))
    unknown |= {"session_reference": "00000000-0000-4000-8000-000000000000"}
    over |= {"session_expires_at": "2026-01-01T00:00:00Z"}
    empty |= {"session_token": ""}
    other |= {"session_token": good["session_token"]}
    no_list |= {"account": "au", "country": "AU", "entity_id": "8f8a4a3c-7d5f-4a52-b6f4-0d0a6ec8c0a1"}

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


@pytest.mark.parametrize("options", [("--invite",), ("--adopt", "--per-hour", "5")])
def test_options_that_do_not_fit_are_refused(desk: Desk, options: tuple[str, ...]):
    assert desk.onboard("import", desk.list_of(customers(1)), *options).code == 2
