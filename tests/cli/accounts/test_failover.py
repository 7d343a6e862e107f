"""An account that cannot work: the next of the route takes its rows over, but not what may have a session there."""

from collections import Counter
from collections.abc import Callable

import pytest

from onboarding_sandbox import Fault
from tests.cli.accounts.test_accounts import change_budget
from tests.cli.batches.test_status import running
from tests.desk.desk import Desk, Played, customers

ROUTE = '[[routes]]                               # every other row\naccounts = ["kyc"]'


def opened_by(played: Played) -> dict[str, Counter[str]]:
    """How many sessions each endpoint opened for each customer."""
    opened: dict[str, Counter[str]] = {}
    for entry in played.calls():
        if entry["processed"]:
            opened.setdefault(entry["endpoint"], Counter())[entry["client"]] += 1
    return opened


def prefer(desk: Desk, *accounts: str) -> Desk:
    names = ", ".join(f'"{name}"' for name in accounts)
    desk.change(ROUTE, f"[[routes]]\naccounts = [{names}]")
    return desk


@pytest.fixture
def two(desk: Desk) -> Desk:
    """Customers of no other route go to `kyc`, and to `au-new` when it cannot serve them."""
    return prefer(desk, "kyc", "au-new")


def test_the_next_account_serves_the_list_when_the_first_refuses_our_credentials(two: Desk, played: Played):
    two.secret("idenfy_secret", "wrong")
    ended = two.onboard("run", two.list_of(customers(40)), "--json")
    facts = ended.facts
    assert ended.code == 1  # a person must look at kyc
    assert "kyc is stopped: HTTP 401" in ended.err
    assert (facts["state"], facts["rows"]["invited"]) == ("sent", 40)
    assert (facts["accounts"]["au-new"]["issued"], facts["accounts"]["kyc"]["issued"]) == (40, 0)
    assert played.opened == Counter({row["customer_id"]: 1 for row in customers(40)})
    assert len(played.sandbox.mailbox) == 40
    report = two.onboard("report", "latest", "--with-routes").table
    assert {row["account"] for row in report} == {"au-new"}
    assert {row["route"] for row in report} == {"route 5: every customer; taken over from kyc, which is stopped"}


def test_what_was_taken_over_stays_and_what_comes_next_goes_to_the_first_again(two: Desk, played: Played):
    two.secret("idenfy_secret", "wrong")
    first = two.list_of(customers(5))
    two.onboard("run", first)
    two.secret("idenfy_secret", "sandbox-secret")
    assert two.onboard("run", first).code == 0  # a start tries the account again
    rows = [row | {"customer_id": f"D-{n}"} for n, row in enumerate(customers(5))]
    second = two.onboard("run", two.list_of(rows, "second.csv"), "--json")
    assert (second.code, list(second.facts["accounts"])) == (0, ["kyc"])
    assert set(played.opened.values()) == {1}


def test_a_row_whose_call_has_an_unknown_outcome_is_held_and_never_called_for_elsewhere(
    play: Callable[..., Played], desk_at: Callable[[Played], Desk]
):
    faults = ("drop-after:0.6,endpoint=idenfy-kyc", "401:0.1,endpoint=idenfy-kyc")
    played = play(faults=tuple(Fault.parse(fault) for fault in faults), seed=4)
    desk = prefer(desk_at(played), "kyc", "au-new")
    desk.change(
        '[accounts.kyc]\nprovider = "idenfy-kyc"\n', '[accounts.kyc]\nprovider = "idenfy-kyc"\non_unknown = "hold"\n'
    )
    ended = desk.onboard("run", desk.list_of(customers(60)), "--json")
    assert ended.code == 1
    rows = ended.facts["rows"]
    assert rows["held"] + rows["invited"] == 60
    assert rows["held"] > 0
    lines = desk.onboard("report", "latest").table
    held = {line["customer_id"] for line in lines if line["state"] == "held"}
    moved = {line["customer_id"] for line in lines if line["account"] == "au-new"}
    assert moved
    assert not held & moved
    opened = opened_by(played)
    assert set(opened["frankieone-v1"]) == moved
    assert set(played.opened.values()) == {1}
    assert set(played.opened) == {line["customer_id"] for line in lines}


def test_a_run_ends_with_1_when_no_account_of_the_route_is_left(two: Desk, played: Played):
    two.secret("idenfy_secret", "wrong")
    two.secret("frankieone_key", "wrong")
    ended = two.onboard("run", two.list_of(customers(7)), "--json")
    assert (ended.code, ended.facts["rows"]["waiting"], played.opened) == (1, 7, Counter())
    for name in ("kyc", "au-new"):
        assert f"{name} is stopped" in ended.err
    assert "is stopped" in ended.facts["forecast"]["limited_by"]


def test_a_run_ends_with_1_when_the_next_account_s_cap_is_used_up(two: Desk, played: Played):
    two.secret("idenfy_secret", "wrong")
    two.change("[accounts.au-new]  ", "[accounts.au-new]\ncredits = 3\n#")
    ended = two.onboard("run", two.list_of(customers(7)), "--json")
    assert (ended.code, ended.facts["rows"]["waiting"], ended.facts["rows"]["invited"]) == (1, 4, 3)
    assert sum(played.opened.values()) == 3


def test_a_row_whose_list_names_its_account_waits_for_that_one(two: Desk, played: Played):
    two.change("[accounts.kyc]\n", '[rights]\nlists = ["account"]\n[accounts.kyc]\nper_row = ["account"]\n')
    two.secret("idenfy_secret", "wrong")
    rows = [row | {"account": "kyc" if n == 0 else ""} for n, row in enumerate(customers(4))]
    ended = two.onboard("run", two.list_of(rows), "--json")
    assert (ended.code, ended.facts["rows"]["waiting"], ended.facts["rows"]["invited"]) == (1, 1, 3)
    assert set(played.opened) == {row["customer_id"] for row in rows[1:]}


def test_the_forecast_counts_on_the_account_that_takes_over(two: Desk):
    two.onboard("import", two.list_of(customers(4)))
    running(two, "up")
    change_budget(two, "kyc", stopped_at="2026-01-01 00:00:00.000000", stop_reason="HTTP 401")
    forecast = two.onboard("status", "1", "--json").facts["forecast"]
    assert forecast["finishes_at"]
    assert "kyc" not in forecast["limited_by"]
    change_budget(two, "au-new", stopped_at="2026-01-01 00:00:00.000000", stop_reason="HTTP 401")
    forecast = two.onboard("status", "1", "--json").facts["forecast"]
    assert (forecast["finishes_at"], forecast["limited_by"]) == (None, "kyc is stopped: HTTP 401")
