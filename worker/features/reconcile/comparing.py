"""Compares three books of a batch: ours, the provider's export, the sender's log. Streams; one table at a time."""

from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from onboarding_worker.core.model.customers import FieldProblem
from onboarding_worker.features.reconcile.columns import (
    Charge,
    Difference,
    Found,
    Sending,
    Sent,
    charge_of,
    sending_of,
    shown,
)
from onboarding_worker.features.reconcile.store.books import ADDRESS, CLIENT, EXTERNAL, OurBooks, Scratch
from onboarding_worker.lists.lines import ListRefused, OpenQuote, RawLine
from onboarding_worker.settings.money import Price

CHUNK = 500
STAGES = ("issued", "started", "finished")
Table = Iterable[RawLine]  # may be read several times
_DAY = 86_400.0


@dataclass(frozen=True)
class Rules:
    """`since`, `until`: the period of the bill; None: any time. `charged_from`: the stage from which the provider
    charges a session. `accounts`, `channels`: what the files cover; empty: as they show."""

    since: datetime | None = None
    until: datetime | None = None
    charged_from: int = 0
    accounts: Collection[str] = ()
    channels: Collection[str] = ()
    prices: Mapping[str, Price | None] = field(default_factory=dict)

    def covers(self, at: float | None) -> bool:
        """Whether a time is in the period; a row without a time is."""
        return at is None or (
            (self.since is None or at >= self.since.timestamp()) and (self.until is None or at < self.until.timestamp())
        )


class Reconciliation:
    """One comparison. `counts` has what was compared, and what lies outside of the batch."""

    def __init__(self, scratch: Scratch, ours: OurBooks, batch_id: int, rules: Rules) -> None:
        self._scratch, self._ours, self._batch, self._rules = scratch, ours, batch_id, rules
        self.counts: Counter[str] = Counter()
        self.uncompared: Counter[str] = Counter()  # by account or channel, what no file has a row of

    def load(self) -> None:
        """Read our own book."""
        for table, records in {"session": self._ours.sessions, "message": self._ours.messages}.items():
            for keys, columns in records(self._batch):
                self._scratch.add(table, keys, columns)
                self.counts[f"{table}s"] += columns.get("left", True)
        for key in self._ours.orphans(self._batch):
            self._scratch.run("INSERT OR IGNORE INTO key VALUES ('orphan', ?, 0)", key)
        for customer_id, row, has_session, digests in self._ours.customers(self._batch):
            self._scratch.run("INSERT OR REPLACE INTO customer VALUES (?, ?, ?)", customer_id, row, has_session)
            for digest in digests:
                self._scratch.run("INSERT OR IGNORE INTO key VALUES ('address:' || ?, ?, 0)", digest, customer_id)

    def provider(self, table: Table) -> None:
        """Compare one export of a provider."""
        for charge in self._rows("provider", table, charge_of):
            self._charge(charge)

    def sender(self, table: Table) -> None:
        """Compare one log of a sender: by the ids of messages, or by addresses where it has no id of ours."""
        by_address = not self._has_known_id(table)
        for sending in self._rows("sender", table, sending_of):
            self._sending(sending, by_address=by_address)

    def finish(self, *, provider: bool, sender: bool) -> None:
        """What is in our book alone, and what other batches have. `provider`, `sender`: whether there was a file."""
        self._settle("ref", self._ours.sessions_elsewhere, "provider_outside_batch")
        self._settle("msg", self._ours.messages_elsewhere, "sender_outside_batch")
        if provider:
            self._billed_twice()
            self._never_billed()
        if sender:
            self._not_logged()

    # -- the provider's export

    def _charge(self, charge: Charge) -> None:
        at = charge.at.timestamp() if charge.at is not None else None
        ids = self._sessions_of(charge)
        key = shown((*charge.keys, charge.external_ref, "")[0])
        if not ids:
            return self._unknown_charge(charge, key, at)
        marks = ", ".join("?" * len(ids))
        query = f"SELECT * FROM session WHERE id IN ({marks}) ORDER BY listed, abs(at - ?), id LIMIT 1"  # noqa: S608
        (session,) = self._scratch.run(query, *ids, at or 0.0)
        by = ("provider", charge.row, key or shown(session["reference"]), session["customer"], session["account"])
        where, refund = f"row {session['row']} of the list", charge.amount is not None and charge.amount < 0
        update = "UPDATE session SET listed = listed + ?, charges = charges + ? WHERE id = ?"
        self._scratch.run(update, 0 if refund else 1, -1 if refund else int(charge.billed), session["id"])
        if not self._rules.covers(at):
            self._scratch.find(Found(Difference.OUTSIDE_PERIOD, *by, detail=where))
        if charge.customer_id and charge.keys and charge.customer_id != session["customer"]:
            detail = f"{where}; the export has {shown(charge.customer_id)}"
            self._scratch.find(Found(Difference.OTHER_CUSTOMER, *by, detail=detail))
        if charge.billed and session["listed"] > 0 and not refund:  # a later row may take it back
            self._scratch.wait("twice", [str(session["id"])], Found(Difference.BILLED_TWICE, *by, detail=where))
        price = self._rules.prices.get(session["account"])
        if price is None or charge.amount is None or not charge.billed:
            return
        if (charge.currency and charge.currency != price.currency) or abs(charge.amount) != price.amount:
            amount = f"{charge.amount} {charge.currency}".strip()
            self._scratch.find(Found(Difference.WRONG_AMOUNT, *by, detail=f"{amount} instead of {price}"))

    def _sessions_of(self, charge: Charge) -> Sequence[int]:
        """The sessions that a row may mean: by the surest of its ids, which is not another session's."""
        for key in charge.keys:
            if ids := self._scratch.ids("ref", key):
                return ids[:CHUNK]
        if charge.keys:
            return ()  # by its customer it would be another session of the same one
        if charge.external_ref:
            by_reference = self._scratch.ids("ref", charge.external_ref)  # iDenfy KYB's own reference is one
            by_line = by_reference or self._scratch.ids("ext", charge.external_ref)
            # After an erasure only the provider still knows the external_ref of the list.
            return (by_line or self._scratch.ids("erased", charge.customer_id))[:CHUNK]
        return self._scratch.ids("client", charge.customer_id)[:CHUNK]

    def _unknown_charge(self, charge: Charge, key: str, at: float | None) -> None:
        if any(self._scratch.ids("orphan", one) for one in charge.keys):
            self.counts["known_orphans"] += 1
            return
        name, detail = _named(self._customer(charge.customer_id))
        details = [detail] if detail else []
        if not charge.billed:
            self.counts["provider_free"] += 1
            details.append("listed without a charge")
        if not self._rules.covers(at):
            details.append("outside of the period")
        found = Found(Difference.BILLED_UNKNOWN, "provider", charge.row, key, name, "", "; ".join(details))
        others: Sequence[str] = [f"{CLIENT}{charge.customer_id}"]
        if charge.external_ref:
            others = charge.external_ref, f"{EXTERNAL}{charge.external_ref}"
        self._scratch.wait("ref", charge.keys or others, found)

    def _billed_twice(self) -> None:
        for chunk in self._scratch.waiting("twice", CHUNK):
            for (id_,), found in chunk:
                if self._scratch.run("SELECT 1 FROM session WHERE id = ? AND charges > 1", int(id_)):
                    self._scratch.run("UPDATE session SET charges = charges - 1 WHERE id = ?", int(id_))
                    self._scratch.find(found)

    def _never_billed(self) -> None:
        for session in self._missing("session", "charges <= 0 OR listed = 0", self._rules.accounts):
            detail = "listed without a charge" if session["listed"] else "not in the export"
            if self._scratch.run("SELECT 1 FROM message WHERE customer = ? AND left = 1 LIMIT 1", session["customer"]):
                detail += "; a message was sent to the customer"
            by = ("ours", session["row"], shown(session["reference"]), session["customer"], session["account"])
            self._scratch.find(Found(Difference.NEVER_BILLED, *by, detail=detail))

    # -- the sender's log

    def _has_known_id(self, table: Table) -> bool:
        sendings = (_read(raw, sending_of) for raw in table)
        keys = (key for one in sendings if not isinstance(one, str) for key in one.keys)
        return any(self._scratch.ids("msg", _folded(key)) for key in keys)

    def _sending(self, sending: Sending, *, by_address: bool) -> None:
        at = sending.at.timestamp() if sending.at is not None else None
        ids = [id_ for key in sending.keys for id_ in self._scratch.ids("msg", _folded(key))]
        customer = self._addressed(sending)
        if not ids and by_address and customer is not None:
            # The customer's message on this channel that the log has not had, the nearest in time, within a day.
            found = self._scratch.run(
                "SELECT id, at FROM message WHERE customer = ? AND account = ? AND (left = 1 OR open = 1)"
                " ORDER BY listed, abs(at - ?), id LIMIT 1",
                *(customer["id"], sending.channel, at or 0.0),
            )
            ids = [row["id"] for row in found if at is None or abs(row["at"] - at) <= _DAY]
        if not ids:
            return self._unknown_sending(sending, customer, by_address=by_address)
        (message,) = self._scratch.run("SELECT * FROM message WHERE id = ?", ids[0])
        self._scratch.run(
            "UPDATE message SET listed = listed + 1, sendings = sendings + ?, deliveries = deliveries + ?,"
            " failed = failed + ? WHERE id = ?",
            *(int(sending.sent is one) for one in (Sent.SENT, Sent.DELIVERED, Sent.FAILED)),
            message["id"],
        )
        by = ("sender", sending.row, message["reference"], message["customer"], message["account"])
        where = f"row {message['row']} of the list"
        if not self._rules.covers(at):
            self._scratch.find(Found(Difference.OUTSIDE_PERIOD, *by, detail=where))
        before = {Sent.SENT: message["sendings"], Sent.DELIVERED: message["deliveries"]}.get(sending.sent, 0)
        if before:
            self._scratch.find(Found(Difference.LOGGED_TWICE, *by, detail=where))
        if sending.sent is Sent.FAILED and message["state"] in ("sent", "delivered") and not message["failed"]:
            self._scratch.find(Found(Difference.FAILED_AT_SENDER, *by, detail=f"{where}, {message['state']} for us"))
        first = sending.sent in (Sent.SENT, Sent.DELIVERED) and not (message["sendings"] or message["deliveries"])
        if first and not (message["left"] or message["open"]):
            self._scratch.find(Found(Difference.LOGGED_NOT_SENT, *by, detail=f"{where}, {message['state']} for us"))

    def _unknown_sending(self, sending: Sending, customer: Any, *, by_address: bool) -> None:
        key = shown((*sending.keys, "")[0])
        if customer is not None and not customer["has_session"]:
            by = ("sender", sending.row, key, customer["id"], sending.channel)
            detail = f"row {customer['row']} of the list has no session"
            return self._scratch.find(Found(Difference.SENT_NOT_ISSUED, *by, detail=detail))
        name, detail = _named(customer)
        found = Found(Difference.LOGGED_UNKNOWN, "sender", sending.row, key, name, sending.channel, detail)
        keys = [_folded(one) for one in sending.keys]
        keys += [f"{ADDRESS}{one}" for one in self._ours.digests(sending.email, sending.phone)] if by_address else []
        self._scratch.wait("msg", keys, found)

    def _not_logged(self) -> None:
        for message in self._missing("message", "left = 1 AND listed = 0", self._rules.channels):
            by = ("ours", message["row"], message["reference"], message["customer"], message["account"])
            self._scratch.find(Found(Difference.SENT_NOT_LOGGED, *by, detail=f"{message['state']} for us"))

    # -- both

    def _addressed(self, sending: Sending) -> Any:
        """The batch's customer to whom the message went; None: it does not show, or several have the address."""
        found = self._customer(sending.customer_id)
        if found is not None:
            return found
        for digest in self._ours.digests(sending.email, sending.phone):
            rows = self._scratch.run("SELECT text FROM key WHERE kind = 'address:' || ?", digest)
            if len(rows) == 1:
                return self._customer(rows[0]["text"])
        return None

    def _customer(self, customer_id: str) -> Any:
        return next(iter(self._scratch.run("SELECT * FROM customer WHERE id = ?", customer_id)), None)

    def _missing(self, table: str, condition: str, covered: Collection[str]) -> Iterator[Any]:
        """Rows of our book that no file has: in the period, charged by then, and of what the files cover."""
        known = self._scratch.rows(f"SELECT DISTINCT account FROM {table} WHERE listed > 0")  # noqa: S608
        covered = covered or {row["account"] for row in known}
        for row in self._scratch.rows(f"SELECT * FROM {table} WHERE {condition} ORDER BY row, id"):  # noqa: S608
            if covered and row["account"] not in covered:
                self.uncompared[row["account"]] += 1
            elif table == "session" and row["stage"] < self._rules.charged_from:
                self.counts["not_charged_yet"] += 1
            elif not self._rules.covers(row["at"]):
                self.counts[f"{table}s_outside_period"] += 1
            else:
                yield row

    def _settle(self, kind: str, elsewhere: Any, name: str) -> None:
        """What is unknown to the batch: known to another one, or a difference."""
        for chunk in self._scratch.waiting(kind, CHUNK):
            keys = {key for some, _ in chunk for key in some}
            known = elsewhere(self._batch, keys)
            for some, found in chunk:
                if known & set(some):
                    self.counts[name] += 1
                else:
                    self._scratch.find(found)

    def _rows(self, file: str, table: Table, read: Any) -> Iterator[Any]:
        """What the rows say. One that says nothing is a difference."""
        for raw in table:
            self.counts[f"{file}_rows"] += 1
            found = _read(raw, read)
            if isinstance(found, str):
                self._scratch.find(Found(Difference.UNREADABLE, file, raw.row, detail=found))
            else:
                yield found


def _named(customer: Any) -> tuple[str, str]:
    """The id of the batch's customer, and its row in words; "" for None."""
    return ("", "") if customer is None else (customer["id"], f"row {customer['row']} of the list has this customer")


def _folded(key: str) -> str:
    """An id of ours is written in any case; a sender's own is not."""
    lowered = key.lower()
    return lowered if len(lowered) in (32, 36) and set(lowered) <= set("0123456789abcdef-") else key


def _read(raw: RawLine, read: Any) -> Any:
    if isinstance(raw.cells, OpenQuote):  # the rows below it are a guess, and nothing is settled by guesses
        raise ListRefused([f"row {raw.row:,}: {raw.cells.problem}; {raw.cells.hint}"])
    return raw.cells.problem if isinstance(raw.cells, FieldProblem) else read(raw.row, raw.cells)
