"""Whom a refusal is about; why an account or sender is stopped, in words, and what a person does about it. Pure."""

import re
from enum import StrEnum

# How the reason of a stop at our own cap on credits begins. No provider's answer begins so: those begin with "HTTP".
CAP = "the cap of "
# How those of our own other stops begin, of which only a person can know that their cause is gone.
SHORT_LINKS = "the links live "
REPEATS = "answers repeat: "
REPORTS = "messages do not arrive: "

# Not before a code: there the adapter says what it means.
_STATUS = re.compile(r"\bHTTP (\d{3})\b(?! [\w-]+: )")
# Who is woken at night need not know the numbers.
_IN_WORDS = {
    "401": "the credentials are refused",
    "402": "no credit is left",
    "403": "the credentials have no right to this",
    "404": "nothing is at this address",
}
KEEPS_ITS_CONFIGURATION = "a running process keeps the configuration it started with"
_LONGEST = 300  # the column has room for 400


class About(StrEnum):
    """Whom a refusal is about, and a report that a message did not arrive: of each code of a provider or sender that
    has a published meaning, one; docs/reference/refusals.md."""

    CUSTOMER = "customer"  # this row or message: it would be refused again
    ADDRESS = "address"  # where the message goes
    US = "us"  # our account, number, log-in, set-up, quota or text
    WAY = "way"  # the network, or an outage of the other side: it may pass
    UNKNOWN = "unknown"  # no published meaning that we know of: never a reason to suppress an address


def reason_of_stop(detail: str) -> str:
    """The reason of a stop: what the provider or sender answered, with the meaning of its HTTP status where it gave no
    code of its own."""
    status = _STATUS.search(detail)
    words = _IN_WORDS.get(status[1], "") if status is not None else ""
    return f"{detail} ({words})" if words and len(detail) <= _LONGEST else detail


def is_at_cap(reason: str) -> bool:
    """Whether an account with this reason is stopped at the cap of its `credits`. Trying it again does not help."""
    return reason.startswith(CAP)


def tries_again_by_itself(reason: str) -> bool:
    """Whether the next run, or worker, may try the stopped account again. One more link that is too short-lived to be
    sent would be paid for, as would one more text that is taken and does not arrive, and one more answer may be another
    customer's: a person must have changed something."""
    return not reason.startswith((SHORT_LINKS, REPEATS, REPORTS))


def way_out(name: str, reason: str) -> str:
    """What ends the stop of the account or sender `name`, in words."""
    if is_at_cap(reason):
        return f"raise `credits` of [accounts.{name}], then restart the workers (or `up`): {KEEPS_ITS_CONFIGURATION}"
    return f"correct the cause, then `onboard account resume {name}`"
