"""What a parameter can do to the check: it names an address, it can weaken the check, or neither (`PLAIN`). Rows set
what is plain; the rest they set only where the configuration says so (`providers.row_rights`).

The tables are in the modules of the parameters. What no table names can weaken the check: parameters that the provider
has added since, and those of an adapter whose author says nothing."""

from enum import StrEnum
from typing import NamedTuple


class Effect(StrEnum):
    PLAIN = "plain"
    ADDRESS = "names an address"
    WEAKENS = "can weaken the check"


class Said(NamedTuple):
    """`source`: what the provider's page says of it, shortened; or why it can, where the page does not say."""

    effect: Effect
    source: str


Effects = dict[str, Said]
UNKNOWN = Said(Effect.WEAKENS, "no documented effect")


def effects(*groups: tuple[Effect, str, str]) -> Effects:
    """Each group: the effect, the documented names with spaces between, and the source. A name with dots is inside an
    object, or each object of a list. An object's entry is that of its members without one of their own."""
    return {name: Said(effect, source) for effect, names, source in groups for name in names.split()}


def said_of(table: Effects, name: str) -> Said:
    """The entry of a documented dotted name: its own, else that of the nearest object around it."""
    while name and name not in table:
        name = name.rpartition(".")[0]
    return table.get(name, UNKNOWN)
