"""The short code of a link's page, which the company's own site shows too. Pure.

    the link's secret part and the window of time  --a keyed digest-->  code_of  -->  "K7F-3XR"

Only a holder of the key or of the link can name it. It opens nothing: it says that the page belongs to this link
(docs/decisions/0085-the-code-of-a-page.md).
"""

from datetime import UTC, datetime, timedelta

WINDOW = timedelta(minutes=10)
LENGTH = 6
# No vowels, so that no words come about. Of letters that look like a digit, the digit alone; 0 and 1 are left out too.
LETTERS = "23456789CDFGHJKMNPQRTVWXY"
PURPOSE = "page code"  # of the keyed digest


def texts(secret: str, now: datetime) -> tuple[str, str]:
    """What is digested: of the present window, and of the one before, whose code a page may still show."""
    window = int(now.astimezone(UTC).timestamp() // WINDOW.total_seconds())
    return f"{secret} {window}", f"{secret} {window - 1}"


def changes_at(now: datetime) -> datetime:
    """The end of the present window."""
    seconds = WINDOW.total_seconds()
    return datetime.fromtimestamp((now.timestamp() // seconds + 1) * seconds, UTC)


def code_of(digest: str) -> str:
    """The code of a keyed digest, as `Keyring.digests` makes it: six of 25 letters and digits, 28 bits."""
    number = int(digest[-32:], 16)  # 128 bits, so that each code is as likely
    found = []
    for _ in range(LENGTH):
        number, place = divmod(number, len(LETTERS))
        found.append(LETTERS[place])
    half = LENGTH // 2
    return f"{''.join(found[:half])}-{''.join(found[half:])}"
