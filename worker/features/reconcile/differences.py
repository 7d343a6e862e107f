"""The kinds of differences between the books, in words, and what to do about each. Pure."""

from enum import StrEnum
from typing import NamedTuple, Self

from worker.core.features import hint


class Difference(StrEnum):
    """Each kind with its meaning, and what a person does about it."""

    meaning: str
    what_to_do: str

    def __new__(cls, value: str, meaning: str = "", what_to_do: str = "") -> Self:
        kind = str.__new__(cls, value)
        kind._value_, kind.meaning, kind.what_to_do = value, meaning, what_to_do
        return kind

    BILLED_UNKNOWN = (
        "billed_unknown",
        "paid for, and unknown to us",
        "ask the provider who opened it; a session whose answer was lost is in `onboard report` (error) if we know it",
    )
    NEVER_BILLED = (
        "never_billed",
        "known to us, and not billed",
        "is the export of the whole period and account? Does the provider bill this only later: --charged-from",
    )
    BILLED_TWICE = ("billed_twice", "billed more than once", "claim the second row back from the provider")
    OTHER_CUSTOMER = (
        "other_customer",
        "billed for another customer than ours",
        "compare both ids: one of the books has the wrong customer",
    )
    WRONG_AMOUNT = (
        "wrong_amount",
        "billed at another price than configured",
        "compare with the contract; correct `price` of the account if it is wrong",
    )
    SENT_NOT_ISSUED = (
        "sent_not_issued",
        "a message went to a customer for whom no session was issued",
        "find out what sent it: another program, or a person; the customer may hold a link that is not ours",
    )
    LOGGED_UNKNOWN = (
        "logged_unknown",
        "in the sender's log, and unknown to us",
        "does another program send through this account? Export the log of this worker's sender alone",
    )
    SENT_NOT_LOGGED = (
        "sent_not_logged",
        "sent by us, and not in the sender's log",
        "is the log of the whole period? If so, the customer may not have it"
        + hint("customer", ": `onboard customer resend ID`"),
    )
    LOGGED_TWICE = ("logged_twice", "sent more than once under one id", "the customer has it twice; nothing to repair")
    FAILED_AT_SENDER = (
        "failed_at_sender",
        "failed at the sender, and sent for us",
        "its report did not reach us: check the callbacks; find another address"
        + hint("customer", ", or `onboard customer resend ID`"),
    )
    LOGGED_NOT_SENT = (
        "logged_not_sent",
        "sent for the sender, and not sent for us",
        "the customer has it: resolve the row, and do not send it again",
    )
    OUTSIDE_PERIOD = (
        "outside_period",
        "outside of the period",
        "it belongs to another bill; claim it back if it is in both",
    )
    UNREADABLE = ("unreadable", "rows that cannot be read", "name the columns with --map THEIRS=OURS, or mend the row")


class Found(NamedTuple):
    """One difference. `file`: provider, sender or ours; `row` of that file, or of our list. Ids only, no address."""

    kind: Difference
    file: str
    row: int
    reference: str = ""
    customer_id: str = ""
    account: str = ""
    detail: str = ""
