"""Which accounts share one budget: the provider counts those with the same host and credential together."""

from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

from worker.settings.accounts import Account
from worker.settings.problems import Findings

SHARED = ("limits", "burst", "concurrency", "credits")


def share_budgets(
    accounts: Mapping[str, Account], given: Mapping[str, Mapping[str, Any]], findings: Findings
) -> dict[str, Account]:
    """The accounts, each with its budget's name and the values that all accounts of the budget share.

    `given` has the values that the file itself sets for each account. A value from the file wins over a default; two
    different values from the file are a problem.
    """
    budgets = _budget_names(accounts, given)
    shared: dict[str, dict[str, Any]] = {}
    for budget in dict.fromkeys(budgets.values()):
        members = sorted((name for name in accounts if budgets[name] == budget), key=lambda one: (one != budget, one))
        values = {key: _shared_value(key, members, accounts, given, budget, findings) for key in SHARED}
        shared[budget] = values
    return {
        name: account.model_copy(update={"budget": budgets[name], **shared[budgets[name]]})
        for name, account in accounts.items()
    }


def _budget_names(accounts: Mapping[str, Account], given: Mapping[str, Mapping[str, Any]]) -> dict[str, str]:
    names: dict[str, str] = {}
    seen: list[tuple[tuple[Any, ...], str]] = []  # a secret has no hash, so no dict
    for name, account in sorted(accounts.items()):  # their order in the file may change
        if "budget" in given[name]:
            continue
        identity = _counted_as(account)
        first = next((known for counted_as, known in seen if counted_as == identity), None)
        names[name] = first or name
        if first is None:
            seen.append((identity, name))
    # `budget = "NAME"` with an account's name means that account's budget, even if the budget has another name.
    explicit = {name: account.budget for name, account in accounts.items() if name not in names}
    return {name: names[name] if name in names else names.get(explicit[name], explicit[name]) for name in accounts}


def _counted_as(account: Account) -> tuple[Any, ...]:
    """The host and credential by which the provider counts the account's calls."""
    family = account.provider.partition("-")[0]
    credential = (account.api_key, account.api_secret, account.customer_id, account.customer_child_id)
    return (family, urlsplit(account.base_url).netloc.lower(), *credential)


def _shared_value(
    key: str,
    members: list[str],
    accounts: Mapping[str, Account],
    given: Mapping[str, Mapping[str, Any]],
    budget: str,
    findings: Findings,
) -> Any:
    with_key = [name for name in members if key in given[name]]
    first, *rest = with_key or members[:1]
    value = getattr(accounts[first], key)
    for name in rest:
        if getattr(accounts[name], key) != value:
            findings.consequence(
                ("accounts", name, key),
                f"differs from accounts.{first}.{key}, but both share the budget `{budget}`: set it once,"
                ' or separate the accounts with budget = "NAME"',
            )
    return value
