"""What providers and senders list of themselves, as CSV: whose sessions they opened, which messages they took.

Each has columns like those of the provider's own export. Prices are invented.
"""

import csv
import io
from collections.abc import Collection, Iterable, Iterator, Sequence

from onboarding_sandbox.endpoints.twilio import Text
from onboarding_sandbox.log import Entry
from onboarding_sandbox.wire import FRANKIEONE_V1, FRANKIEONE_V2, IDENFY_KYB, IDENFY_KYC, SMTP

ROWS = 1000  # in a chunk
IDENFY = ("scanRef", "externalRef", "clientId", "createTime", "price")
FRANKIEONE = ("requestId", "entityId", "entityCustomerReference", "createdAt", "price")
EXPORTS = ("idenfy", "frankieone", "twilio", "smtp")
PRICE = "0.90"


def csv_of(name: str, entries: Sequence[Entry], texts: list[Text]) -> Iterator[bytes]:
    """One of EXPORTS, by chunks. The entries that are there when it begins."""
    if name == "twilio":
        rows = ((text.sid, text.at.isoformat(), text.sender, text.to, "delivered") for text in list(texts))
        yield from _chunks(("MessageSid", "DateSent", "From", "To", "Status"), rows)
    elif name == "smtp":
        yield from _chunks(("message_id", "recipient", "status", "time"), _mails(list(entries)))
    elif name == "idenfy":
        yield from _chunks(IDENFY, _sessions(list(entries), (IDENFY_KYC, IDENFY_KYB)))
    else:
        yield from _chunks(FRANKIEONE, _sessions(list(entries), (FRANKIEONE_V1, FRANKIEONE_V2)))


def _sessions(entries: Iterable[Entry], endpoints: Collection[str]) -> Iterator[tuple[str, ...]]:
    for one in entries:
        if one["processed"] and one["endpoint"] in endpoints:
            reference, client = one["reference"] or "", one["client"] or ""
            match one["endpoint"]:
                case "idenfy-kyc":
                    ids = (reference, "", client)
                case "idenfy-kyb" | "frankieone-v1":
                    ids = ("", reference, client)
                case _:  # FrankieOne v2 names the entity in the address
                    ids = (reference, client, "")
            yield *ids, one["at"], PRICE


def _mails(entries: Iterable[Entry]) -> Iterator[tuple[str, ...]]:
    for one in entries:
        if one["endpoint"] == SMTP and one["message_id"]:
            status = "sent" if one["processed"] else "bounced"
            yield one["message_id"], (one["to"] or [""])[0], status, one["at"]


def _chunks(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> Iterator[bytes]:
    out = io.StringIO()
    writer = csv.writer(out)
    writer.writerow(columns)
    for number, row in enumerate(rows, start=1):
        writer.writerow(row)
        if number % ROWS == 0:
            yield out.getvalue().encode()
            out.seek(0)
            out.truncate()
    yield out.getvalue().encode()
