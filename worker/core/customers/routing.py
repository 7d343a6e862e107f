"""Chooses the account for a customer's session: the first able account of the first route whose `when` fits."""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from difflib import get_close_matches

from worker.core.customers.customers import PERSONAL, Customer, FieldProblem
from worker.core.model import countries

FALLBACK_ACCOUNTS_LENGTH = 400  # the column's
Wanted = str | bool | tuple[str, ...]
# able(account, customer, the route's freshness floor or None): the problems that keep the account from serving the
# customer, if any.
Able = Callable[[str, Customer, timedelta | None], list[FieldProblem]]


def _text_of(column: str) -> Callable[[Customer], Sequence[str]]:
    if column in PERSONAL:
        return lambda customer: (str(getattr(customer.person, column) or ""),)  # a date in ISO 8601
    return lambda customer: (str(getattr(customer, column)),)


# The columns that a route may use, each with the customer's values as texts for the comparison.
_READ: Mapping[str, Callable[[Customer], Sequence[str]]] = {
    **{name: _text_of(name) for name in ("kind", "purpose", "country", "locale", "timezone", "channel", "entity_id")},
    **{name: _text_of(name) for name in ("external_ref", "template", "customer_id", *PERSONAL)},
    "tags": lambda customer: customer.tags,
    # "Present" means consent is true, so that `consent = false` fits every customer without consent.
    "consent": lambda customer: ("true",) if customer.consent else (),
}


@dataclass(frozen=True)
class Rule:
    """One route of the configuration.

    `when` maps a column to a value, several values, or true/false for present/absent. All must fit; an empty `when`
    fits every customer. `accounts` are in order of preference. Raises ValueError, with the key, for a `when` that
    can never fit.
    """

    when: Mapping[str, Wanted]
    accounts: tuple[str, ...]
    freshness: timedelta | None = None
    _tests: tuple["_Test", ...] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if not self.accounts:
            raise ValueError("accounts: name at least one")
        object.__setattr__(self, "_tests", tuple(_Test.of(column, wanted) for column, wanted in self.when.items()))

    def fits(self, customer: Customer) -> str | None:
        """Why the rule fits, in the configuration's own words; None when it does not."""
        if not self._tests:
            return "every customer"
        words = []
        for test in self._tests:
            word = test.fits(customer)
            if word is None:
                return None
            words.append(word)
        return ", ".join(words)


@dataclass  # not frozen: see `customers.customers`
class Chosen:
    """The account, and the reason: column names and values of the configuration, nothing personal.

    `fallback_accounts` are the route's other accounts that could serve the customer, in order: they take over when the
    account cannot work.
    """

    account: str
    reason: str
    freshness: timedelta | None
    fallback_accounts: tuple[str, ...] = ()


@dataclass(frozen=True)
class Unroutable:
    """No account can serve the customer; `problems` has what each candidate lacks, at least one problem."""

    problems: tuple[FieldProblem, ...]

    @property
    def problem(self) -> FieldProblem:
        return self.problems[0]


def choose_account(
    customer: Customer,
    rules: Sequence[Rule],
    *,
    able: Able,
    known: Collection[str],
) -> Chosen | Unroutable:
    """The account for the customer. The first rule that fits decides; later rules are not used."""
    if customer.account:
        return _forced(customer, rules, able, known)
    for number, rule in enumerate(rules, start=1):
        why = rule.fits(customer)
        if why is not None:
            return _preferred(customer, rule, f"route {number}: {why}", able)
    hint = "add a last [[routes]] without `when`, or name an account in the column account"
    return Unroutable((FieldProblem("account", "no route fits the customer", hint),))


def further_problems(
    customer: Customer, rules: Sequence[Rule], *, able: Able, known: Collection[str], wrong: Collection[str]
) -> tuple[FieldProblem, ...]:
    """What no account accepts of a refused line, besides its `wrong` columns, which the customer has no value for.

    Where a wrong column may decide the route, only the account that the line names is asked.
    """
    if "account" in wrong or (not customer.account and any(not rule.when.keys().isdisjoint(wrong) for rule in rules)):
        return ()
    chosen = choose_account(customer, rules, able=able, known=known)
    problems = chosen.problems if isinstance(chosen, Unroutable) else ()
    return tuple(problem for problem in problems if problem.column not in wrong)


def _forced(
    customer: Customer,
    rules: Sequence[Rule],
    able: Able,
    known: Collection[str],
) -> Chosen | Unroutable:
    account = customer.account
    if account not in known:
        hint = f"use one of {', '.join(sorted(known))}, or leave it empty"
        return Unroutable((FieldProblem("account", "no account of that name is configured", hint),))
    freshness = freshness_for(customer, rules, account)
    problems = able(account, customer, freshness)
    if problems:
        return Unroutable(tuple(problems))
    return Chosen(account, "account column", freshness)


def freshness_for(customer: Customer, rules: Sequence[Rule], account: str) -> timedelta | None:
    """The freshness floor of the route that would choose this account for the customer; None: it sets none."""
    return freshness_of(account, rules)(customer)


def freshness_of(account: str, rules: Sequence[Rule]) -> Callable[[Customer], timedelta | None]:
    """`freshness_for` of one account. Customers are compared with the routes only if that makes a difference."""
    routes = [rule for rule in rules if account in rule.accounts]
    possible = {rule.freshness for rule in routes}
    if all(rule.when for rule in routes):
        possible.add(None)  # of a customer whom no route fits
    if len(possible) == 1:
        same = possible.pop()
        return lambda _: same

    def of(customer: Customer) -> timedelta | None:
        return next((rule.freshness for rule in routes if rule.fits(customer) is not None), None)

    return of


def _preferred(customer: Customer, rule: Rule, reason: str, able: Able) -> Chosen | Unroutable:
    passed_over: list[str] = []
    problems: list[FieldProblem] = []
    for place, account in enumerate(rule.accounts, start=1):
        lacks = able(account, customer, rule.freshness)
        if not lacks:
            if passed_over:
                reason += f"; {' and '.join(passed_over)} cannot serve the customer"
            others = dict.fromkeys(rule.accounts[place:])
            fallback_accounts = tuple([other for other in others if not able(other, customer, rule.freshness)])
            return Chosen(account, reason, rule.freshness, fallback_accounts)
        passed_over.append(account)
        problems += lacks
    return Unroutable(tuple(dict.fromkeys(problems)))


def fallbacks_text(account: str, fallback_accounts: Sequence[str]) -> str:
    """The fallback accounts of a row as its column has them: as many as fit next to its own account's name."""
    kept: list[str] = []
    for other in fallback_accounts:
        if len(",".join([account, *kept, other])) > FALLBACK_ACCOUNTS_LENGTH:
            break
        kept.append(other)
    return ",".join(kept)


@dataclass(frozen=True)
class _Test:
    """One key of a `when`: the folded values that fit, with the configuration's spelling; or presence alone."""

    column: str
    present: bool | None
    spelling: Mapping[str, str]

    @classmethod
    def of(cls, column: str, wanted: Wanted) -> "_Test":
        if column not in _READ:
            near = get_close_matches(column, _READ, n=1)
            nearest = f"; the nearest is {near[0]}" if near else ""
            raise ValueError(f"when.{column}: not a column that routes can use{nearest}")
        if isinstance(wanted, bool):
            return cls(column, wanted, {})
        values = (wanted,) if isinstance(wanted, str) else tuple(wanted)
        if not values:
            raise ValueError(f"when.{column}: an empty list matches no customer; name a value, or use true or false")
        return cls(column, None, {_folded(column, value): value for value in values})

    def fits(self, customer: Customer) -> str | None:
        found = _READ[self.column](customer)
        if self.present is not None:
            there = any(found)
            return f"{self.column} {'present' if there else 'absent'}" if there is self.present else None
        for text in found:
            spelled = self.spelling.get(_compared(self.column, text)) if text else None
            if spelled is not None:
                return f"{self.column}={spelled}"
        return None


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
