"""Warnings of a configuration. What is said of several accounts is said once, with their names."""

import re
from collections.abc import Iterable

NAMED = 3  # accounts
_OF_AN_ACCOUNT = re.compile(r'(accounts\.(?:[\w-]+|"[^"]*")([^:]*)): (.+)', re.DOTALL)


def said_once(warnings: Iterable[str]) -> list[str]:
    """The warnings in their order; those that differ in the account alone are one."""
    found: dict[tuple[str, str], list[str]] = {}
    for warning in warnings:
        match = _OF_AN_ACCOUNT.fullmatch(warning)
        place, key, what = match.groups() if match is not None else ("", "", warning)
        found.setdefault((key, what), []).append(place)
    return [f"{_listed(places)}: {what}" if places[0] else what for (_, what), places in found.items()]


def _listed(places: list[str]) -> str:
    more = f" and {len(places) - NAMED:,} more" if len(places) > NAMED else ""
    return f"{', '.join(places[:NAMED])}{more}"
