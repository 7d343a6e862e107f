"""The variables of the page behind our own link. None of them is personal: a link may be opened by anybody."""

from collections.abc import Mapping
from enum import StrEnum

from worker.templates.brand import Brand
from worker.templates.names import plain
from worker.templates.values import OF_EACH_TEXT, of_each_text


class Screen(StrEnum):
    """What the page shows."""

    ASK = "ask"  # who asks and why, with the button that goes on
    AGAIN = "again"  # the same, after a press that did not count
    WAITING = "waiting"  # a session is being opened: the page asks again by itself
    LONG = "long"  # it is still being opened after a while
    DONE = "done"  # the customer has finished
    LATER = "later"  # nothing can be opened: a person of the company must decide
    NOT_ME = "not_me"  # whether the link is really for another person
    STOPPED = "stopped"  # it was for another person: no message follows
    GONE = "gone"  # the link is unknown, or was revoked: nothing says which
    BUSY = "busy"  # too many requests
    TROUBLE = "trouble"  # we cannot answer at the moment


# Every variable that the page may use, with its meaning (docs/reference/templates.md).
PAGE_VARIABLES: Mapping[str, str] = {
    "screen": ", ".join(f'"{one}"' for one in Screen),
    "again": "whether the press on this page did not count, and the page says so",
    "customer_kind": '"individual" or "company"; "individual" where the link is unknown',
    "sender_name": "who asks",
    "action": "the address that the form is sent to",
    "token": "the hidden value of the form, which shows that it comes from this page",
    "address": "the page's own address; where a page that waits looks again",
    "not_me": "the address of the page for persons whom the link is not for",
    "ready_by": "when the verification can begin at the latest, in words; empty where that is in some minutes",
    "style": "the style of the page",
    **OF_EACH_TEXT,
}


def page_variables(
    screen: Screen,
    brand: Brand,
    *,
    sender_name: str,
    language: str,
    again: bool = False,
    customer_kind: str,
    address: str = "",
    looks_again: str = "",
    token: str = "",
    ready_by: str = "",
    style: object = "",
) -> dict[str, object]:
    """The variables of the page: exactly the keys of PAGE_VARIABLES. `address` is the link's own path; `looks_again`:
    where a page that waits looks again, if that is another. `again`: see PAGE_VARIABLES; so of the screen AGAIN."""
    not_me = f"{address}/not-me" if address else ""
    return {
        "screen": screen.value,
        "again": again or screen is Screen.AGAIN,
        "customer_kind": customer_kind,
        "sender_name": plain(sender_name),
        "action": not_me if screen is Screen.NOT_ME else address,
        "token": token,
        "address": looks_again or address,
        "not_me": not_me,
        "ready_by": ready_by,
        "style": style,
        **of_each_text(brand, language),
    }
