"""Faster ways to do what a library does too: each with a plain form, its twin. Here it is decided which run: the fast
ones, but for those that the environment of a process names in ONBOARDING_PLAIN.

For tests and measurements, and for finding an error: `ONBOARDING_PLAIN=all`, or names separated by commas. Both forms
write and read the same, so processes of both may share a database. There is no key of the configuration: no one needs
the plain forms. A twin that gains less than 5 % of what a customer costs is deleted.

The gains are those of a customer's whole way on one machine, which cost a worker 860 microseconds of its processor and
PostgreSQL 410, without the calls themselves; each was measured by turns with its plain form.
"""

import os
from enum import StrEnum


class Twin(StrEnum):
    ARRAYS = "arrays"
    EACH_ROW = "each_row"
    UNANSWERED = "unanswered"
    ON_LOOP = "on_loop"
    TALLY = "tally"


ALL = "all"
_named = frozenset(filter(None, os.environ.get("ONBOARDING_PLAIN", "").split(",")))
if unknown := _named - {ALL, *Twin}:
    raise ValueError(f"ONBOARDING_PLAIN names no twin: {', '.join(sorted(unknown))}")
plain = frozenset(Twin) if ALL in _named else frozenset(map(Twin, _named))  # of these the plain form runs
