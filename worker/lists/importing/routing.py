"""The routes: a customer goes to the first able account of the first one whose `when` fits."""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from difflib import get_close_matches
from functools import lru_cache
from operator import attrgetter
from typing import Any, NamedTuple

from onboarding_worker.core.model.customers import ACCOUNT_COLUMN, PERSONAL, Customer, FieldProblem
from onboarding_worker.lists.lines import OWN, Chosen
from onboarding_worker.providers import countries

Wanted = str | bool | tuple[str, ...]
# One key of a `when`: whether it must be present; or None, and the folded values that fit, each with the
# configuration's spelling.
_Test = tuple[str, bool | None, Mapping[str, str]]
# able(account, customer, the route's freshness floor or None): the problems that keep the account from serving the
# customer, if any.
Able = Callable[[str, Customer, timedelta | None], list[FieldProblem]]
# forbids(account, customer): what the row says and may not say to this account's provider.
Forbids = Callable[[str, Customer], Sequence[FieldProblem]]


DEFAULT_ACCOUNT = "default account"  # why an account was chosen, if its list names it for rows that name none

# The columns that a route may use.
_OF_CUSTOMER = "kind purpose country locale timezone channel entity_id external_ref template brand customer_id"
_USABLE = (*_OF_CUSTOMER.split(), *PERSONAL, "tags", "consent")


def _texts_of(customer: Customer, column: str) -> Sequence[str]:
    """The customer's values for the comparison."""
    if column == "tags":
        return customer.tags
    if column == "consent":  # "present" means that it is true: `consent = false` fits every customer without consent
        return ("true",) if customer.consent else ()
    return (str(getattr(customer.person if column in PERSONAL else customer, column) or ""),)  # a date in ISO 8601


@dataclass(frozen=True, eq=False)  # so a rule is a key
class Rule:
    """One route of the configuration.

    `when` maps a column to a value, several values, or true/false for present/absent. All must fit; an empty `when`
    fits every customer. `accounts` are in order of preference; `brand` is that of customers who have none.
    Raises ValueError, with the key, for a `when` that can never fit.
    """

    when: Mapping[str, Wanted]
    accounts: tuple[str, ...]
    freshness: timedelta | None = None
    brand: str = ""
    _tests: Sequence[_Test] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        if not self.accounts:
            raise ValueError("accounts: name at least one")
        object.__setattr__(self, "_tests", tuple(_test_of(column, wanted) for column, wanted in self.when.items()))

    def fits(self, customer: Customer, but: str = "") -> str | None:
        """Why the rule fits, in the configuration's own words; None when it does not. `but`: a column that fits."""
        words = []
        for column, present, spelling in self._tests:
            if column == but:
                continue
            found = _texts_of(customer, column)
            if present is not None:
                if any(found) is not present:
                    return None
                words.append(f"{column} {'present' if present else 'absent'}")
                continue
            spelled = [spelling[one] for text in found if text and (one := _compared(column, text)) in spelling]
            if not spelled:
                return None
            words.append(f"{column}={spelled[0]}")
        return ", ".join(words) or "every customer"


MOST_KEPT = 1024  # groups of customers


class _Fitting(NamedTuple):
    rule: Rule
    reason: str  # why it is this one
    chosen: Chosen  # where each of its accounts can serve the customer


class Routing:
    """The first of these rules that fits a customer. Customers who agree in all columns of the rules have the same one,
    and most lists have few such groups: each is compared with the rules once."""

    def __init__(self, rules: tuple[Rule, ...]) -> None:
        self._rules = rules
        columns = sorted({column for rule in rules for column in rule.when})
        of_customer = (f"person.{column}" if column in PERSONAL else column for column in columns)
        self.tests_own = not set(OWN).isdisjoint(columns)  # so each customer may be a group
        self._group = attrgetter("kind", *of_customer)
        self._first: dict[Any, _Fitting | None] = {}

    def of(self, customer: Customer) -> _Fitting | None:
        group = self._group(customer)
        if group in self._first:
            return self._first[group]
        each = ((number, rule, rule.fits(customer)) for number, rule in enumerate(self._rules, start=1))
        found = next((_fitting(rule, f"route {number}: {why}") for number, rule, why in each if why is not None), None)
        if len(self._first) < MOST_KEPT:
            self._first[group] = found
        return found


def _fitting(rule: Rule, reason: str) -> _Fitting:
    first, *others = dict.fromkeys(rule.accounts)
    return _Fitting(rule, reason, Chosen(first, reason, rule.freshness, tuple(others)))


routing = lru_cache(maxsize=64)(Routing)


def choose_account(
    customer: Customer,
    rules: Sequence[Rule],
    *,
    able: Able,
    known: Collection[str],
    forbids: Forbids = lambda _account, _customer: (),
    default: str = "",
    keeps_back: bool = False,
) -> Chosen | tuple[FieldProblem, ...]:
    """The account for the customer; or what each candidate lacks, at least one problem. The first rule that fits
    decides; later rules are not used. What a row may not say to an account leads to no other one. `default`: the
    account of rows that name none. `keeps_back`: it is chosen all the same, and its call waits for the right."""
    if customer.account:
        refused = () if keeps_back else tuple(forbids(customer.account, customer))
        return refused or _forced(customer, rules, able, known, default)
    found = routing(tuple(rules)).of(customer)
    if found is None:
        hint = "add a last [[routes]] without `when`, or name an account in the column account"
        return (FieldProblem("account", "no route fits the customer", hint),)
    rule, reason, _ = found
    problems: list[FieldProblem] = []
    for place, account in enumerate(rule.accounts):
        lacks = able(account, customer, rule.freshness)
        if wrong := forbids(account, customer):
            if keeps_back and not lacks:
                return Chosen(account, reason, rule.freshness)
            bad = {problem.column for problem in lacks}
            return (*lacks, *(problem for problem in wrong if problem.column not in bad))
        if not lacks:
            if place:
                reason += f"; {' and '.join(rule.accounts[:place])} cannot serve the customer"
            others = dict.fromkeys(rule.accounts[place + 1 :])
            able_too = [other for other in others if not able(other, customer, rule.freshness)]
            fallback_accounts = tuple([other for other in able_too if not forbids(other, customer)])
            return Chosen(account, reason, rule.freshness, fallback_accounts)
        problems += lacks
    return tuple(dict.fromkeys(problems))


def _forced(
    customer: Customer, rules: Sequence[Rule], able: Able, known: Collection[str], default: str
) -> Chosen | tuple[FieldProblem, ...]:
    account = customer.account
    if account not in known:
        hint = f"use one of {', '.join(sorted(known))}, or leave it empty"
        return (FieldProblem("account", "no account of that name is configured", hint, unread=True),)
    freshness = freshness_of(account, rules)(customer)
    problems = able(account, customer, freshness)
    if problems:
        return tuple(problems)
    return Chosen(account, DEFAULT_ACCOUNT if account == default else ACCOUNT_COLUMN, freshness)


def freshness_of(account: str, rules: Sequence[Rule]) -> Callable[[Customer], timedelta | None]:
    """The freshness floor of the route that would choose this account for a customer; None: it sets none."""
    of_account = routing(tuple(rule for rule in rules if account in rule.accounts))
    return lambda customer: found.rule.freshness if (found := of_account.of(customer)) is not None else None


def brand_for(customer: Customer, rules: Sequence[Rule]) -> str:
    """The brand of the row; else of the first route that fits, also where the row names its account; else ""."""
    found = None if customer.brand else routing(tuple(rules)).of(customer)
    return customer.brand if found is None else found.rule.brand


def _test_of(column: str, wanted: Wanted) -> _Test:
    if column not in _USABLE:
        near = get_close_matches(column, _USABLE, n=1)
        nearest = f"; the nearest is {near[0]}" if near else ""
        raise ValueError(f"when.{column}: not a column that routes can use{nearest}")
    if isinstance(wanted, bool):
        return column, wanted, {}
    values = (wanted,) if isinstance(wanted, str) else tuple(wanted)
    if not values:
        raise ValueError(f"when.{column}: an empty list matches no customer; name a value, or use true or false")
    return column, None, {_folded(column, value): value for value in values}


def _compared(column: str, value: str) -> str:
    folded = value.casefold()
    return folded.replace("_", "-") if column == "locale" else folded


def _folded(column: str, value: str) -> str:
    """A configured value in the form used for comparison. A country may be written with three letters."""
    if column in ("country", "nationality"):
        code = countries.alpha2(value)
        if code is None:
            raise ValueError(f'when.{column}: "{value}" is not an ISO 3166 country code')
        value = code
    return _compared(column, value)
