"""The list that `onboard init --list` writes: an example row of each kind."""

import csv
import io

from worker.lists.formats.source import LIST_FORMATS

COLUMNS = (
    "customer_id",
    "kind",
    "email",
    "phone",
    "first_name",
    "last_name",
    "company_name",
    "country",
    "locale",
    "channel",
    "date_of_birth",
)
# Reserved addresses, and numbers that are reserved for films. Ofcom's cover mobile phones.
ROWS = (
    ("EXAMPLE-1", "individual", "ona@example.com", "", "Ona", "Petrauskaitė", "", "LT", "lt", "", "1990-12-31"),
    ("EXAMPLE-2", "individual", "", "+447700900123", "John", "Smith", "", "GB", "en", "sms", "1985-02-01"),
    ("EXAMPLE-3", "company", "office@example.com", "", "", "", "Example GmbH", "DE", "de", "email", ""),
)


def files() -> dict[str, bytes]:
    """By their names: the list as CSV, and in each format that a feature writes."""
    out = io.StringIO(newline="")
    csv.writer(out).writerows([COLUMNS, *ROWS])
    found = {"customers.csv": out.getvalue().encode("utf-8-sig")}
    for one in LIST_FORMATS.offered():
        if one.template is not None:
            found[f"customers.{one.form}"] = one.template(COLUMNS, ROWS)
    return found
