"""What a mail service's words mean for the message and for its address. Pure."""

import re

from worker.senders.contract import DeliveryStatus, Stop
from worker.senders.smtp_answers import GONE, UNKNOWN_MAILBOX

LONGEST_ADDRESS = 254
_CODE = re.compile(r"[245]\.\d{1,3}\.\d{1,3}")


def of_permanent_failure(code: str, text: str) -> tuple[DeliveryStatus, Stop | None, str]:
    """Only a plain statement that there is no such mailbox ends the address (docs/reference/coming-back.md)."""
    gone = code in GONE if code else bool(UNKNOWN_MAILBOX.search(text[:2_000].lower()))
    return (DeliveryStatus.BOUNCED, Stop.BOUNCED, code) if gone else (DeliveryStatus.BLOCKED, None, code)


def enhanced_code(*texts: object) -> str:
    """The first status code of RFC 3463 in these texts; "" if there is none."""
    for text in texts:
        if isinstance(text, str) and (match := _CODE.search(text[:2_000])):
            return match[0]
    return ""


def usable_address(given: object) -> str:
    """The value, if it may be a mail address; else ""."""
    usable = isinstance(given, str) and len(given) <= LONGEST_ADDRESS and given.count("@") == 1 and given.isprintable()
    return str(given).strip() if usable else ""
