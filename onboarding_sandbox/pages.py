"""The sandbox's own pages: JSON under /_sandbox, and the page at / for people; and what providers and senders list of
themselves, as CSV: whose sessions they opened, which messages they took. Each has columns like those of the provider's
own export. Prices are invented.
"""

import asyncio
import csv
import html
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from itertools import islice

from aiohttp import web

from onboarding_sandbox import wire
from onboarding_sandbox.endpoints.twilio import Text
from onboarding_sandbox.mailbox import Mailbox
from onboarding_sandbox.wire import Endpoint, Entry, Log

ROWS = 1000  # in a chunk
EXPORTS = ("idenfy", "frankieone", "twilio", "smtp")


def rows_of(name: str, entries: Sequence[Entry], texts: Sequence[Text]) -> Iterator[tuple[str, ...]]:
    """One of EXPORTS, the titles first."""
    if name == "twilio":
        yield "MessageSid", "DateSent", "From", "To", "Status"
        yield from ((text.sid, text.at.isoformat(), text.sender, text.to, "delivered") for text in texts)
    elif name == "smtp":
        yield "message_id", "recipient", "status", "time"
        for one in entries:
            if one["endpoint"] == wire.SMTP and one["message_id"]:
                status = "sent" if one["processed"] else "bounced"
                yield one["message_id"], (one["to"] or [""])[0], status, one["at"]
    elif name == "idenfy":
        yield "scanRef", "externalRef", "clientId", "createTime", "price"
        yield from _sessions(entries, (wire.IDENFY_KYC, wire.IDENFY_KYB))
    else:
        yield "requestId", "entityId", "entityCustomerReference", "createdAt", "price"
        yield from _sessions(entries, (wire.FRANKIEONE_V1, wire.FRANKIEONE_V2))


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
            yield *ids, one["at"], "0.90"


class _AsGiven:
    """What the writer of CSV writes to: `writerow` returns the line."""

    def write(self, line: str) -> str:
        return line


async def _streamed(request: web.Request, kind: str, lines: Iterator[str]) -> web.StreamResponse:
    """In chunks, so that a million lines are neither one string nor a million packets."""
    answer = web.StreamResponse(headers={"Content-Type": f"{kind}; charset=utf-8"})
    await answer.prepare(request)
    while chunk := "".join(islice(lines, ROWS)):
        await answer.write(chunk.encode())
    return answer


LAST_MAILS = 20
STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem; color: #1c2430 }
h1 { font-size: 1.5rem } h2 { font-size: 1.1rem; margin-top: 2rem }
table { border-collapse: collapse; width: 100% }
th, td { text-align: left; padding: .3rem .8rem .3rem 0; vertical-align: top }
th { border-bottom: 1px solid #c8d0da; font-weight: 600 }
code { background: #eef1f5; padding: .1rem .3rem; border-radius: 3px }
pre { background: #f6f8fa; padding: 1rem; white-space: pre-wrap; overflow-wrap: anywhere }
iframe { width: 100%; height: 36rem; border: 1px solid #c8d0da; border-radius: 4px; background: #fff }
"""
# Received mail is foreign HTML: the browser may show it, and run nothing. Its links open in a tab of their own: the
# pages behind them refuse to be shown in a frame.
POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:; frame-src 'self'"


class Pages:
    def __init__(
        self,
        log: Log,
        mailbox: Mailbox,
        texts: list[Text],
        endpoints: list[Endpoint],
        *,
        smtp_port: Callable[[], int],
        forget: Callable[[], None],
    ) -> None:
        self._log, self._mailbox, self._texts, self._endpoints = log, mailbox, texts, endpoints
        self._smtp_port, self._forget = smtp_port, forget

    def routes(self) -> list[web.RouteDef]:
        return [
            web.get("/", self.index),
            web.get("/_sandbox/log", self.log),
            web.get("/_sandbox/mailbox", self.mailbox),
            web.get("/_sandbox/mailbox/{n:[0-9]{1,9}}", self.mail),
            web.get("/_sandbox/texts", self.texts),
            web.get("/_sandbox/exports/{name}.csv", self.export),
            web.post("/_sandbox/reset", self.reset),
        ]

    async def log(self, request: web.Request) -> web.StreamResponse:
        """The log as JSON lines; `?endpoint=` for one endpoint."""
        endpoint = request.query.get("endpoint")
        if endpoint is not None and endpoint not in (*wire.ENDPOINTS, wire.WEBHOOKS, wire.PAGE, "unknown"):
            return web.json_response({"error": f"endpoint is one of {', '.join(wire.ENDPOINTS)}"}, status=400)
        return await _streamed(request, "application/x-ndjson", self._log.lines(endpoint))

    async def export(self, request: web.Request) -> web.StreamResponse:
        """What a provider or a sender would list at the end of the month, as CSV."""
        name = request.match_info["name"]
        if name not in EXPORTS:
            return web.json_response({"error": f"the exports are {', '.join(EXPORTS)}"}, status=404)
        rows = rows_of(name, list(self._log.entries), list(self._texts))  # more arrive while a long list is sent
        return await _streamed(request, "text/csv", map(csv.writer(_AsGiven()).writerow, rows))

    async def mailbox(self, request: web.Request) -> web.StreamResponse:
        """All messages as a JSON list; `?to=ADDRESS` for one recipient's."""
        to = request.query.get("to")
        shown = []
        for mail in [mail for mail in self._mailbox if to is None or to in mail.recipients]:
            shown.append(mail.facts())
            if len(shown) % 50 == 0:
                await asyncio.sleep(0)  # parsing thousands of messages must not block provider calls
        return web.json_response(shown)

    async def mail(self, request: web.Request) -> web.StreamResponse:
        """Message N, counted from 1: a page, or JSON if the caller accepts it."""
        n = int(request.match_info["n"])
        if not 1 <= n <= len(self._mailbox):
            return web.json_response({"error": f"the mailbox has {len(self._mailbox)} messages"}, status=404)
        mail = self._mailbox[n - 1]
        if "application/json" in request.headers.get("Accept", ""):
            return web.json_response(mail.facts())
        headers = "\n".join(f"{name}: {value}" for name, value in mail.headers.items())
        parts = [f'<p><a href="/">Sandbox</a></p><h1>{html.escape(mail.subject)}</h1><pre>{html.escape(headers)}</pre>']
        if mail.html is not None:
            shown = html.escape(f'<base target="_blank">{mail.html}')
            may = "allow-popups allow-popups-to-escape-sandbox"
            parts.append(f'<h2>HTML</h2><iframe sandbox="{may}" title="message" srcdoc="{shown}"></iframe>')
        if mail.text is not None:
            parts.append(f"<h2>Text</h2><pre>{html.escape(mail.text)}</pre>")
        return _page(f"Message {n}", "".join(parts))

    async def texts(self, request: web.Request) -> web.StreamResponse:
        """All text messages as a JSON list; `?to=NUMBER` for one recipient's."""
        to = request.query.get("to")
        return web.json_response([text.facts() for text in self._texts if to is None or to == text.to])

    async def reset(self, request: web.Request) -> web.StreamResponse:
        """Clear everything received: log, mailbox, sessions, credits, limits. The faults start again."""
        self._forget()
        return web.json_response({"reset": True})

    async def index(self, request: web.Request) -> web.StreamResponse:
        counts = Counter((entry["endpoint"], entry["status"]) for entry in self._log.entries)
        parts = [
            "<h1>Sandbox</h1><p>Simulates the identity-verification providers and a mailbox. Nothing here is real, and "
            "nothing leaves this machine.</p><h2>What it serves</h2>",
            _table(
                ("endpoint", "address", "answers so far"),
                [
                    *(
                        (one.name, f"<code>{one.method} {html.escape(one.route)}</code>", _answers(counts, one.name))
                        for one in self._endpoints
                    ),
                    ("smtp", f"<code>port {self._smtp_port()}</code>", _answers(counts, "smtp")),
                ],
            ),
            '<p><a href="/_sandbox/log">Log</a> (JSON lines) · <a href="/_sandbox/mailbox">Mailbox</a> (JSON) · '
            '<a href="/_sandbox/texts">Texts</a> (JSON) · '
            "<code>POST /_sandbox/reset</code> clears everything</p>",
            f"<h2>{len(self._mailbox)} messages in the mailbox</h2>",
            _table(
                ("", "to", "subject", "received (UTC)"),
                [
                    (
                        f'<a href="/_sandbox/mailbox/{mail.n}">{mail.n}</a>',
                        html.escape(", ".join(mail.recipients)),
                        html.escape(mail.subject),
                        f"{mail.at:%Y-%m-%d %H:%M:%S}",
                    )
                    for mail in self._mailbox.messages[: -LAST_MAILS - 1 : -1]
                ],
            ),
            f"<h2>{len(self._texts)} text messages</h2>",
            _table(
                ("to", "text", "received (UTC)"),
                [
                    (html.escape(text.to), html.escape(text.body), f"{text.at:%Y-%m-%d %H:%M:%S}")
                    for text in self._texts[: -LAST_MAILS - 1 : -1]
                ],
            ),
        ]
        return _page("Sandbox", "".join(parts))


def _answers(counts: "Counter[tuple[str, int | str | None]]", endpoint: str) -> str:
    found = [(str(status), count) for (name, status), count in counts.items() if name == endpoint]
    return ", ".join(f"{count} × {'open' if status == 'None' else status}" for status, count in sorted(found)) or "none"


def _table(heads: tuple[str, ...], rows: list[tuple[str, ...]]) -> str:
    lines = ["".join(f"<td>{cell}</td>" for cell in row) for row in rows]
    body = "".join(f"<tr>{line}</tr>" for line in lines)
    return f"<table><tr>{''.join(f'<th>{head}</th>' for head in heads)}</tr>{body}</table>"


def _page(title: str, body: str) -> web.Response:
    head = f'<meta charset="utf-8"><title>{html.escape(title)}</title><style>{STYLE}</style>'
    return web.Response(
        text=f'<!doctype html><html lang="en"><head>{head}</head><body>{body}</body></html>',
        content_type="text/html",
        headers={"Content-Security-Policy": POLICY, "Cache-Control": "no-store"},
    )
