"""The evidence for people: a table of the customers, and a page of totals. Both follow from the records. Pure."""

import csv
import io
from collections import Counter
from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from worker.foundation.harmless_text import spreadsheet_safe

COLUMNS = (
    *("row", "customer_id", "purpose", "state", "result", "consent", "account", "sessions", "calls"),
    *("messages_sent", "first_message_at", "result_at", "reason"),
)
_CONSENT = {True: "given", False: "refused", None: "not in the list"}
STYLE = (
    "body{font:16px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem}"
    "table{border-collapse:collapse}td,th{text-align:left;padding:.2rem 1.5rem .2rem 0}th{border-bottom:1px solid}"
    "code{overflow-wrap:anywhere}"
)


def csv_line(cells: Sequence[Any]) -> bytes:
    out = io.StringIO()
    csv.writer(out).writerow([spreadsheet_safe(str(cell)) for cell in cells])
    return out.getvalue().encode()


def line_of(record: Mapping[str, Any]) -> bytes | None:
    """The line of the table for a record; None: it has none."""
    if record["type"] == "refused":
        facts = {**record, "result": "", "consent": ""}
        return csv_line([facts.get(name, "") for name in COLUMNS])
    if record["type"] != "customer":
        return None
    facts = {**record, "consent": _CONSENT[record["consent"]]}
    return csv_line(["" if facts[name] is None else facts[name] for name in COLUMNS])


class Totals:
    """Counts the records for the page."""

    def __init__(self) -> None:
        self._batch: Mapping[str, Any] = {}
        self._counts: dict[str, Counter[str]] = {}

    def add(self, record: Mapping[str, Any]) -> None:
        match record["type"]:
            case "batch":
                self._batch = record
            case "customer":
                self._count("Customers by state", record["state"])
                self._count("Results", record["result"] or "none yet")
                self._count("Consent", _CONSENT[record["consent"]])
            case "refused":
                self._count("Customers by state", record["state"])
            case "session":
                self._count("Sessions by account and state", f"{record['account']}, {record['state']}")
            case "message":
                self._count("Messages by channel and state", f"{record['channel']}, {record['state']}")
                if record["template"]:
                    self._count("Messages by template (digest)", record["template"])
            case "call":
                self._count("Calls by outcome", f"{record['account']}, {record['outcome'] or 'not known yet'}")
            case "decision":
                self._count("Decisions", record["action"])

    def _count(self, table: str, name: str) -> None:
        self._counts.setdefault(table, Counter())[name] += 1

    def page(self, *, records: int, head: str) -> bytes:
        facts = self._batch
        lines = [
            '<!doctype html><html lang="en"><head><meta charset="utf-8">',
            "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">",
            f"<title>Evidence of batch {facts['batch']}</title><style>{STYLE}</style></head><body>",
            f"<h1>Evidence of batch {facts['batch']}</h1>",
            f"<p>The list {escape(facts['name'])}, imported {escape(facts['imported_at'] or 'not completely')}.</p>",
            f"<p>SHA-256 of the list: <code>{escape(facts['sha256'])}</code></p>",
            f"<p>{records:,} records. The last hash of their chain: <code>{head}</code></p>",
            "<p>Each customer has a line in summary.csv, and all records are in evidence-0001.jsonl and the files after"
            " it. README.txt says how to check that nothing was changed.</p>",
        ]
        for title, counts in self._counts.items():
            lines.append(f"<h2>{title}</h2>")
            lines.append("<table><tr><th></th><th>number</th></tr>")
            lines += [f"<tr><td>{escape(name)}</td><td>{number:,}</td></tr>" for name, number in sorted(counts.items())]
            lines.append("</table>")
        lines.append("</body></html>")
        return "".join(f"{line}\n" for line in lines).encode()
