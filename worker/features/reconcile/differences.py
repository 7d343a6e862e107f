"""The kinds of differences between the books, in words, and what to do about each. Pure."""

from dataclasses import dataclass
from enum import StrEnum

from worker.core.features import hint


class Difference(StrEnum):
    BILLED_UNKNOWN = "billed_unknown"
    NEVER_BILLED = "never_billed"
    BILLED_TWICE = "billed_twice"
    OTHER_CUSTOMER = "other_customer"
    WRONG_AMOUNT = "wrong_amount"
    SENT_NOT_ISSUED = "sent_not_issued"
    LOGGED_UNKNOWN = "logged_unknown"
    SENT_NOT_LOGGED = "sent_not_logged"
    LOGGED_TWICE = "logged_twice"
    FAILED_AT_SENDER = "failed_at_sender"
    LOGGED_NOT_SENT = "logged_not_sent"
    OUTSIDE_PERIOD = "outside_period"
    UNREADABLE = "unreadable"


@dataclass(frozen=True)
class Words:
    title: str
    action: str


WORDS: dict[Difference, Words] = {
    Difference.BILLED_UNKNOWN: Words(
        "paid for, and unknown to us",
        "ask the provider who opened it; a session whose answer was lost is in `onboard report` (error) if we know it",
    ),
    Difference.NEVER_BILLED: Words(
        "known to us, and not billed",
        "is the export of the whole period and account? Does the provider bill this only later: --charged-from",
    ),
    Difference.BILLED_TWICE: Words("billed more than once", "claim the second row back from the provider"),
    Difference.OTHER_CUSTOMER: Words(
        "billed for another customer than ours", "compare both ids: one of the books has the wrong customer"
    ),
    Difference.WRONG_AMOUNT: Words(
        "billed at another price than configured",
        "compare with the contract; correct `price` of the account if it is wrong",
    ),
    Difference.SENT_NOT_ISSUED: Words(
        "a message went to a customer for whom no session was issued",
        "find out what sent it: another program, or a person; the customer may hold a link that is not ours",
    ),
    Difference.LOGGED_UNKNOWN: Words(
        "in the sender's log, and unknown to us",
        "does another program send through this account? Export the log of this worker's sender alone",
    ),
    Difference.SENT_NOT_LOGGED: Words(
        "sent by us, and not in the sender's log",
        "is the log of the whole period? If so, the customer may not have it"
        + hint("customer", ": `onboard customer resend ID`"),
    ),
    Difference.LOGGED_TWICE: Words("sent more than once under one id", "the customer has it twice; nothing to repair"),
    Difference.FAILED_AT_SENDER: Words(
        "failed at the sender, and sent for us",
        "its report did not reach us: check the callbacks; find another address"
        + hint("customer", ", or `onboard customer resend ID`"),
    ),
    Difference.LOGGED_NOT_SENT: Words(
        "sent for the sender, and not sent for us", "the customer has it: resolve the row, and do not send it again"
    ),
    Difference.OUTSIDE_PERIOD: Words(
        "outside of the period", "it belongs to another bill; claim it back if it is in both"
    ),
    Difference.UNREADABLE: Words(
        "rows that cannot be read", "name the columns with --map THEIRS=OURS, or mend the row"
    ),
}


@dataclass(frozen=True)
class Found:
    """One difference. `file`: provider, sender or ours; `row` of that file, or of our list. Ids only, no address."""

    kind: Difference
    file: str
    row: int
    reference: str = ""
    customer_id: str = ""
    account: str = ""
    detail: str = ""
