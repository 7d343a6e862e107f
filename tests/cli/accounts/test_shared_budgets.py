"""Accounts that share a budget: their names and order in the file change, and what they have used stays counted."""

import pytest

from tests.cli.accounts.test_accounts import of
from tests.desk.desk import Desk, Played, customers

ALSO = """[accounts.{name}]
provider = "idenfy-kyc"
base_url = "{url}"
api_key = {{ file = "secrets/idenfy_key" }}
api_secret = {{ file = "secrets/idenfy_secret" }}
"""
IDENFY = ("kyc", "kyc-lt", "kyb")


def rename(desk: Desk, **names: str) -> None:
    """Rename accounts, in the routes too; at once, so that two may change their names."""
    for old in names:
        desk.change(f"[accounts.{old}]", f"[accounts.{old}.]")
        desk.change(f'accounts = ["{old}"]', f'accounts = ["{old}."]')
    for old, new in names.items():
        desk.change(f"[accounts.{old}.]", f"[accounts.{new}]")
        desk.change(f'accounts = ["{old}."]', f'accounts = ["{new}"]')


def cap(desk: Desk, credits: int) -> None:
    desk.change('provider = "idenfy-kyc"\nbase_url', f'provider = "idenfy-kyc"\ncredits = {credits}\nbase_url')


def spend_three(desk: Desk) -> str:
    """Use up a cap of three. Returns the list, of which two rows are left."""
    cap(desk, 3)
    listed = desk.list_of(customers(5))
    assert desk.onboard("run", listed).code == 1
    return listed


def change_order(desk: Desk, _played: Played) -> None:
    rename(desk, **{"kyc": "kyc-lt", "kyc-lt": "kyc"})


def rename_the_first(desk: Desk, _played: Played) -> None:
    rename(desk, kyb="zyb")


def add_one(desk: Desk, played: Played) -> None:
    desk.add(ALSO.format(name="aaa", url=f"http://127.0.0.1:{played.sandbox.port}/idenfy"))


@pytest.mark.parametrize("change", [change_order, rename_the_first, add_one])
def test_a_cap_that_is_used_up_stays_so_when_the_accounts_change(change, desk: Desk, played: Played):
    listed = spend_three(desk)
    change(desk, played)
    assert desk.onboard("run", listed).code == 1
    assert sum(played.opened.values()) == 3
    assert (of(desk, "kyc")["credits_used"], of(desk, "kyc")["credits_left"]) == (3, 0)


def test_what_was_carried_to_another_budget_is_in_the_audit_log(desk: Desk):
    listed = spend_three(desk)
    rename(desk, kyb="zyb")
    desk.onboard("run", listed)
    (entry,) = (one for one in desk.audited("run") if one["subject"].startswith("budget"))
    assert (entry["subject"], entry["reason"]) == ("budget kyc", "carried on from budget kyb, with its 3 used credits")


def test_a_start_says_that_the_cap_of_a_renamed_account_counts_from_nothing(desk: Desk):
    spend_three(desk)
    rename(desk, **{name: f"new-{name}" for name in IDENFY})
    ran = desk.onboard("run", desk.list_of(customers(1, au=1), "one.csv"))
    assert "new-kyb: its cap counts from 0, but kyb used 3: was it renamed?" in ran.err


def test_without_the_secrets_accounts_share_as_for_the_process_that_had_them(desk: Desk):
    key = 'api_key = { file = "secrets/idenfy_key" }'
    text = desk.config.read_text("utf-8")
    for name in IDENFY:  # each has a variable of its own, of the same value
        text = text.replace(key, f'api_key = {{ env = "KEY_OF_{name.upper()}" }}', 1)
    desk.config.write_text(text, "utf-8")
    desk.environ |= {f"KEY_OF_{name.upper()}": "sandbox-key" for name in IDENFY}
    cap(desk, 3)
    desk.onboard("run", desk.list_of(customers(5)))
    desk.onboard("import", desk.list_of([one | {"country": "LT"} for one in customers(9)[5:]], "lt.csv"))
    known = desk.onboard("status", "--check")
    assert (known.code, "kyc, kyc-lt, kyb: stopped" in known.out) == (1, True)
    shown = desk.onboard("account", "list", "--json").facts

    desk.environ.clear()
    assert desk.onboard("status", "--check") == known
    assert desk.onboard("account", "list", "--json").facts == shown
    assert desk.onboard("account", "resume", "kyc-lt").code == 2  # at the cap, which the file sets for kyc alone
