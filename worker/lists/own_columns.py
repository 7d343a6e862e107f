"""Columns of the list that are for messages alone, `message.branch`: their names, and what they may hold. Pure. They
are the customer's, encrypted with the person. No provider gets them, and no route reads them."""

import re
from collections.abc import Collection, MutableMapping

from onboarding_worker.core.model.customers import MESSAGE, MOST_OWN, OWN_PREFIX
from onboarding_worker.lists.rules import COLUMNS, text
from onboarding_worker.providers.values import Refusal
from onboarding_worker.templates import values
from onboarding_worker.templates.no_values import is_left_over

PREFIX = OWN_PREFIX
NAMES = "a name of at most 32 letters, digits and _, that begins with a letter"
# Who reads `{{ message.link }}` must not take it for `{{ link }}`.
RESERVED = frozenset({*COLUMNS, *values.VARIABLES})
NO_VALUE = Refusal(  # it refuses no row: its cell counts as empty
    "a placeholder in place of a value, or spoiled letters", "give the value, or leave it empty"
)
_ADDRESS = Refusal(
    "it looks like an address, which mail programs make a link of",
    "write it without //, www., an @, a colon after its first word, four numbers with dots, or a dot before letters"
    " (St. Gallen); an email address alone, and of the domain of a `from` or `reply_to`, is good",
)
_TOO_MANY = Refusal(f"more than {MOST_OWN} columns for messages", "leave out those that no template has")


def is_own(column: str) -> bool:
    return column.startswith(PREFIX)


def own_name(title: str) -> str:
    """The name in templates of a title, without its prefix. Raises ValueError, with what is wrong."""
    name = re.sub(r"[\s-]+", "_", title.strip().lower())
    if not values.OWN_NAME.fullmatch(name):
        raise ValueError(f"expected {NAMES}")
    if name in RESERVED:
        raise ValueError("the name of a column or a variable of ours: choose another one")
    return name


def own_column(title: str) -> tuple[str | None, str]:
    """Our name for a title such as `message.branch`; else None, and why not: "" for one that has no such form."""
    before, dot, name = title.strip().partition(".")
    if before.strip().lower() != MESSAGE:
        return None, ""
    if not dot:
        return None, f"write {PREFIX}NAME; in JSON, an object of these"
    try:
        return PREFIX + own_name(name), ""
    except ValueError as error:
        return None, str(error)


def add(own: MutableMapping[str, str], column: str, text: str, mail_domains: Collection[str]) -> Refusal | None:
    """Add the value to a row's own ones, by name; returns why it is not used."""
    value = value_of(text, mail_domains)
    if isinstance(value, Refusal):
        return value
    if len(own) == MOST_OWN:
        return _TOO_MANY
    own[column.removeprefix(PREFIX)] = value
    return None


def value_of(found: str, mail_domains: Collection[str]) -> str | Refusal:
    """The value in a cell that is not empty. `mail_domains`: those of our own addresses."""
    value = text(found, values.VALUE_LENGTH)
    if isinstance(value, Refusal):
        return value
    if is_left_over(value):
        return NO_VALUE
    if values.ADDRESS_IN_VALUE.search(values.folded(value)) and not values.is_own_mailbox(value, mail_domains):
        return _ADDRESS
    return value
