"""What a row may say to the provider. Parameters that name an address or can weaken the check come from
`[accounts.NAME.parameters]`; a row sets one only if its account lists it (`per_row`) and the row's origin has the right
to (`[rights]`). The same holds of the column `account`. Pure: it is asked where a row comes in, and again before
each call.
"""

from collections.abc import Collection, Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

from onboarding_worker.adapters.settings import AccountSettings
from onboarding_worker.core.model.customers import FieldProblem
from onboarding_worker.providers.parameters import list_around, set_by
from onboarding_worker.providers.parameters.effects import Effect

# Where rows come from, as [rights] names it: one of these, or SENDERS or FOLDERS with a name behind a dot. A row that
# another one makes keeps that one's (`AcceptedLine.origin`).
LISTS, UPLOADS, REPORTS, LIBRARY, EARLIER = "lists", "uploads", "reports", "library", "earlier"
SENDERS, FOLDERS = "senders", "folders"
NOBODY = "nobody"  # has no right
FORBIDDEN = "this row may not set it"
ACCOUNT = "account"  # the column; in `per_row`: rows may name this account


class Right(NamedTuple):
    """What one origin of rows may set. `columns`: as a list names them; `a.b` gives `a.b.c` too. `key`: the
    configuration's, which gives the right."""

    key: str
    columns: Collection[str] = ()


class RowSays(NamedTuple):
    """The columns by which a row sets what needs a right; and of these the ones that it may not, each with what the
    configuration would have to list it in."""

    sets: tuple[str, ...] = ()
    lacks: Mapping[str, tuple[str, ...]] = MappingProxyType({})

    @property
    def problems(self) -> tuple[FieldProblem, ...]:
        """Why the row is refused."""
        return tuple(FieldProblem(column, FORBIDDEN, _way_out(column, keys)) for column, keys in self.lacks.items())

    @property
    def in_words(self) -> str:
        """Why the row is kept back: columns and keys of the configuration, and no value."""
        return "; ".join(f"{column} is not in {' and '.join(keys)}" for column, keys in self.lacks.items())


NOTHING = RowSays()


def judged(account: AccountSettings, right: Right, values: Mapping[str, Any], *, names_account: bool) -> RowSays:
    """Judge a row that this account is to serve. `values`: its parameters for the account's provider. `names_account`:
    the row itself names the account."""
    said = set_by(account.provider, values, account.dialect) if values else {}
    named = [(name, f"{account.provider}.{name}") for name, one in said.items() if one.effect is not Effect.PLAIN]
    lacks: dict[str, tuple[str, ...]] = {}
    for name, column in named:
        keys = [] if _has(account.per_row, name) else [f"accounts.{account.name}.per_row"]
        keys += [] if _has(right.columns, column) else [right.key]
        if keys:
            lacks[column] = tuple(keys)
    if names_account and not (ACCOUNT in account.per_row and ACCOUNT in right.columns):
        lacks |= no_account(right).lacks
    return RowSays((*(column for _, column in named), *([ACCOUNT] if names_account else [])), lacks)


def no_account(right: Right) -> RowSays:
    """That the row may not name its account. The same for each account, and for none: who may not name one does not
    learn which there are."""
    return RowSays((ACCOUNT,), {ACCOUNT: ("the account's per_row", right.key)})


def _has(listed: Collection[str], name: str) -> bool:
    return any(name == one or name.startswith(f"{one}.") for one in listed)


def _way_out(column: str, keys: tuple[str, ...]) -> str:
    instead = "leave it out" if column == ACCOUNT else "set it in the account's `parameters`"
    around = list_around(*column.split(".", 1)) if "." in column else ""
    return f"{instead}, or list {f'the whole of {around}' if around else 'it'} in {' and '.join(keys)}"
