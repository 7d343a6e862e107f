"""Lists that are no files of this machine: what their addresses look like, and who fetches them."""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import BinaryIO
from urllib.parse import unquote, urlsplit

from onboarding_worker.core.foundation.features import NOT_INSTALLED, Hook

_ADDRESS = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://")
_LONGEST_NAME = 100


class CannotFetch(Exception):
    """Why the list could not be fetched, in words without the address."""


@dataclass(frozen=True)
class ListSource:
    """`fetch` writes the list at an address of these schemes to a file. Raises CannotFetch, and OSError of the file."""

    schemes: tuple[str, ...]
    fetch: Callable[[str, BinaryIO], None]


# The feature `list_sources` fetches from https, S3 and SFTP.
LIST_SOURCES = Hook("LIST_SOURCES", ListSource)


def is_address(path: str) -> bool:
    return _ADDRESS.match(path) is not None


def name_of(address: str) -> str:
    """The name of the file at an address, for people: without host, user and query."""
    return shown_name(unquote(urlsplit(address).path).rstrip("/").rpartition("/")[2])[:_LONGEST_NAME]


def shown_name(name: str) -> str:
    """A file's name without what a terminal would not show, and what is no UTF-8: a stranger may have named it."""
    return "".join(sign for sign in name if sign.isprintable()) or "list"


def fetch(address: str, out: BinaryIO, sources: Sequence[ListSource]) -> None:
    scheme = address.partition("://")[0].lower()
    for one in sources:
        if scheme in one.schemes:
            one.fetch(address, out)
            return
    if not sources:
        raise CannotFetch(NOT_INSTALLED)
    raise CannotFetch(f"a list is fetched from {', '.join(schemes_of(sources))}, or read from a file")


def schemes_of(sources: Sequence[ListSource]) -> list[str]:
    """What the addresses that can be fetched begin with."""
    return [f"{scheme}://" for one in sources for scheme in one.schemes]
