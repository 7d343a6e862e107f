"""`onboard customer show`, `erase`, `reapply`, `export`: one customer's history, erasure and export."""

from collections import Counter
from collections.abc import Iterator, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import click

from onboarding_worker.cli.exits import NEEDS_A_PERSON, CannotStart, NotDone, Stopped
from onboarding_worker.cli.invocation import Invocation, Said, saying
from onboarding_worker.cli.shared_options import JSON, OUT, YES, confirm, print_json_or, whole_file, without_address
from onboarding_worker.core.database.journal import read as read_journal
from onboarding_worker.core.foundation.features import hint
from onboarding_worker.core.foundation.notation import counted, printable, written
from onboarding_worker.core.model.states import SessionState
from onboarding_worker.core.rules.contact import Caps
from onboarding_worker.features.privacy.store.reapplying import reapply as reapply_notes
from onboarding_worker.features.privacy.store.subject_requests import SubjectRequests
from onboarding_worker.features.service_desk.opened import finder_of
from onboarding_worker.features.service_desk.timeline import About, Moment, timeline
from onboarding_worker.lists.accept import customer_id as id_of_a_list
from onboarding_worker.providers.values import Refusal
from onboarding_worker.reporting.prices import doubt_in_words
from onboarding_worker.reporting.store.ledger import CustomerFacts, MessageFacts, words_about
from onboarding_worker.reporting.store.restored import why_lost
from onboarding_worker.reporting.store.waiting import cut_off
from onboarding_worker.settings.needs import ENCRYPTING, STORED
from onboarding_worker.wiring.container import Parts


@click.command()
@click.argument("customer_id", metavar="ID")
@click.option(
    "--provider-words",
    is_flag=True,
    help="Show what providers and senders said about failed calls, in their own words. They may quote the customer, so"
    " the audit log names who has read them.",
)
@saying(STORED, migrate=True)
def show(parts: Parts, customer_id: str, provider_words: bool) -> Said:
    """Show what has happened to one customer, as dated sentences, and what comes next.

    ID is the customer_id of your list; `onboard customer find` looks for an email address or a phone number. Shows no
    address, name, link or token. Times are UTC.
    """
    history = finder_of(parts).history(customer_id)
    if history is None:
        raise CannotStart("there is no customer with that id; give the customer_id of the list")
    now = parts.clock()
    moments = timeline(history, parts.reporting.circumstances(), now=now)
    facts = _facts(parts.contact.caps, history.facts)
    facts["timeline"] = [
        {"at": written(one.at), "about": one.about.value, "text": one.text, "then": one.then} for one in moments
    ]
    if provider_words:
        words = words_about(parts.database, parts.keyring, customer_id, now=parts.clock())
        facts["provider_words"] = [_shown(one, "at account outcome status code words") for one in words]
    return Said(facts, list(_lines(facts, moments, now)))


NOTHING = "nothing is stored under that id"


def _unread(parts: Parts, requests: SubjectRequests) -> str:
    """The lists that are not imported, in words: they may name the id, and are not searched."""
    coming = [f"uploaded list {one}" for one in requests.uploaded()]
    coming += [f"rows of batch {one.id} that are not imported yet" for one in cut_off(parts.database)]
    return f" (not searched: {', '.join(coming)})" if coming else ""


@click.command()
@click.argument("customer_id", metavar="ID")
@click.option(
    "--reason",
    default="",
    callback=without_address,
    help="Why, for the proof and the audit log, which keep it: a number of a request, no name and no address.",
)
@click.option(
    "--forget-suppressed",
    is_flag=True,
    help="Also forget that the customer's addresses, if no other customer has them, asked for no messages, or returned"
    " them. A later list with one of them writes to it again.",
)
@click.option("--unknown", is_flag=True, help="Also if nothing is stored and no list waits: so that none brings it in.")
@OUT
@YES
@JSON
@click.pass_obj
def erase(
    invocation: Invocation,
    customer_id: str,
    reason: str,
    forget_suppressed: bool,
    unknown: bool,
    out: Path | None,
    yes: bool,
    as_json: bool,
) -> None:
    """Erase all personal data of one customer, at once and for good.

    ID is the customer_id of your list. Open rows end, and nothing more is sent. Erased are the person, the values of
    lists, links and tokens, what providers and senders said, updates, refused events, and copies of webhooks. Your own
    id, states and times stay. Lists and events that name the customer later, and lists that wait, are refused, row by
    row; `onboard import --allow-erased` brings the customer back. At the providers nothing is erased: ask them.

    The command prints a proof of what was erased, or writes it to --out. Its SHA-256 is in the audit log, so that a
    later change of it shows.

    \b
    onboard customer erase C-1001 --reason "request 2026-17" --out proof.json
    sha256sum proof.json; onboard audit --action "customer erase"
    """
    with invocation.parts(ENCRYPTING, migrate=True) as parts:
        requests, nothing = SubjectRequests(parts.database, parts.keyring), ""
        if not requests.is_known(customer_id):
            # The audit log and the proof keep the id for ever: so no email address, which no list can have as one.
            read = id_of_a_list(customer_id, hash_ids=False, phone="", country="")
            if isinstance(read, Refusal):
                raise CannotStart(f"ID: {read.problem}; give the customer_id, which `onboard customer find` shows")
            unread = _unread(parts, requests)
            if not unknown and not unread:
                raise CannotStart(f"{NOTHING}; give the list's customer_id, or --unknown: then no list brings it in")
            nothing = f"{NOTHING}{unread}: no list brings it in from now on"
        if out is not None and out.exists():
            raise CannotStart(f"--out: {out.name} exists; name another file")
        if not yes:
            question = f"erase the customer {customer_id} for good?"
            confirm(f"{nothing}; {question}" if nothing else question)
        proof = None
        try:
            with whole_file(out) as stream:  # before the erasure: its proof cannot be made again
                proof = requests.erase(
                    customer_id, reason=reason, forget_suppressed=forget_suppressed, now=parts.database_clock()
                )
                stream.write(f"{proof.text}\n")
        except Stopped:  # such as a full disk
            if proof is not None:
                click.echo(proof.text)
            raise
    if not as_json:
        erased = nothing or ", ".join(f"{name} {number:,}" for name, number in proof.facts["erased"].items() if number)
        # Not among the proof: a proof that a script keeps from standard output must have the hash.
        click.echo(f"customer {customer_id} is erased: {erased or 'nothing was left to erase'}", err=out is None)
        click.echo(f"proof: sha256 {proof.sha256}" + (f", {out}" if out else ""), err=out is None)


@click.command()
@click.argument("files", metavar="[FILE]...", nargs=-1, type=click.Path(exists=True, dir_okay=False, path_type=Path))
@saying(ENCRYPTING, migrate=True)
def reapply(parts: Parts, files: tuple[Path, ...]) -> Said:
    """Bring back what a restored database does not know: who was erased, and which addresses get no messages.

    FILEs are the journals of all machines; by default the one of [privacy] journal. Safe to repeat. Ends with code 1 if
    a line is damaged or lost, or needs a digest key that is not in [encryption]. docs/how-to/backup.md says what to do.
    """
    own = () if parts.journal is None else (parts.journal.path,)
    if not (files or own):
        raise CannotStart("there is no [privacy] journal; give its FILE")
    try:
        found = [read_journal(file) for file in files or own]
        lost = [*map(why_lost, files)]
    except OSError as error:
        raise CannotStart(f"{error.filename}: {error.strerror}") from None
    notes = [note for notes, _ in found for note in notes]
    done = reapply_notes(parts.database, parts.keyring, notes, now=parts.clock())
    if parts.restored is not None and not files:
        lost = [parts.restored.lost]
    damaged = sum(number for _, number in found)
    problems = [
        f"{counted(number, 'note needs', 'notes need')} the digest key {key_id}: put it into [encryption]"
        for key_id, number in done.unknown.items()
    ]
    problems += [f"{counted(damaged, 'line')} of the journal cannot be read"] if damaged else []
    problems += filter(None, lost)
    again = f"{counted(done.suppressed, 'address', 'addresses')} suppressed again"
    lines = [f"{counted(done.erased, 'customer')} erased again, {again}"]
    return Said({**vars(done), "damaged": damaged}, lines, NotDone("\n".join(problems)) if problems else None)


@click.command()
@click.argument("customer_id", metavar="ID")
@OUT
@JSON
@click.pass_obj
def export(invocation: Invocation, customer_id: str, out: Path | None, as_json: bool) -> None:
    """Show all that is stored about one customer, for that person's own request.

    ID is the customer_id of your list. The output holds personal data: names, addresses, and what providers said about
    calls. Links and tokens are left out, because with one of them another person can act as the customer. The audit log
    names who has made it. The providers, your own lists and reports, and your mail server may have more.
    """
    with invocation.parts(STORED, migrate=True) as parts:
        requests = SubjectRequests(parts.database, parts.keyring)
        if not requests.is_known(customer_id):
            raise CannotStart(f"{NOTHING}{_unread(parts, requests)}; give the customer_id of the list")
        facts = requests.export(customer_id, now=parts.clock())
    with whole_file(out) as stream:
        print_json_or(facts, "\n".join(_readable(facts)), as_json=as_json, out=stream)
    if _has_unreadable(facts):
        shown = hint("keys", " (`onboard keys status`)")
        click.echo(f"some values are left out: no key decrypts them{shown}", err=True)
        raise SystemExit(NEEDS_A_PERSON)


def _has_unreadable(value: Any) -> bool:
    """Whether a value is missing because its key is."""
    if isinstance(value, dict):
        return "unreadable" in value or any(map(_has_unreadable, value.values()))
    return isinstance(value, list | tuple) and any(map(_has_unreadable, value))


def _readable(value: Any, indent: int = 0) -> Iterator[str]:
    """JSON values as indented lines; a list's items are numbered."""
    pairs = value.items() if isinstance(value, dict) else enumerate(value, start=1)
    for name, inner in pairs:
        label = f"{'  ' * indent}{str(name).replace('_', ' ')}:"
        if isinstance(inner, dict | list | tuple) and inner:
            yield label
            yield from _readable(inner, indent + 1)
        else:
            yield f"{label} {_one_line(inner)}"


def _one_line(value: Any) -> str:
    if value is None or value in ("", [], {}, ()):
        return "-"
    text = ("yes" if value else "no") if isinstance(value, bool) else str(value)
    return "".join(one if one.isprintable() else " " for one in text)


def _facts(caps: Caps, found: CustomerFacts) -> dict[str, Any]:
    bought = [session for session in found.sessions if session.state != SessionState.DEFERRED]
    of_purposes = sorted(Counter(session.purpose for session in bought).items())
    return {
        "customer": found.customer_id,
        "erased": found.erased,
        "messages": {"counted": found.messages, "most": caps.messages},
        "reissues": {"most": caps.reissues, "used": {purpose: number - 1 for purpose, number in of_purposes}},
        # Counted as an account's `credits`; what a credit costs is in the contract with the provider.
        "credits": found.credits,
        "lost_calls": found.lost_calls,
        "jobs": [_shown(job, _OF_JOB) for job in found.jobs],
        "sessions": [
            _shown(session, _OF_SESSION) | {"messages": [_of_message(message) for message in session.messages]}
            for session in found.sessions
        ],
    }


_OF_JOB = "batch row purpose state result reason detail account due_at joined purged brand verdict"
_OF_SESSION = "purpose account reference state result because issued_at expires_at check_at reasons verdict"
_OF_MESSAGE = "channel kind state reason due_at sent_at unknown_handovers"


def _of_message(message: MessageFacts) -> dict[str, Any]:
    return _shown(message, _OF_MESSAGE) | ({"kind": "new_link"} if message.new_link else {})


def _shown(facts: Any, names: str) -> dict[str, Any]:
    """These facts, with times as text."""
    shown = {name: getattr(facts, name) for name in names.split()}
    return {name: written(fact) if isinstance(fact, datetime) else fact for name, fact in shown.items()}


def _lines(facts: dict[str, Any], moments: Sequence[Moment], now: datetime) -> Iterator[str]:
    erased = ", erased" if facts["erased"] else ""
    counted, most = facts["messages"]["counted"], facts["messages"]["most"]
    yield f"customer {facts['customer']}{erased}: {counted} of at most {most} messages"
    for job in facts["jobs"]:
        if job["purged"]:
            done = f"finished for {job['purpose']}: {job['result'] or 'no result is known'}"
            yield f"  {done} (row {job['row']} of batch {job['batch']}, which was purged)"
    ahead = False
    for one in moments:
        if one.about is About.BATCH:  # of many customers: `onboard audit` has it
            continue
        if one.at > now and not ahead:
            ahead = True
            yield f"  -- now {now:%Y-%m-%d %H:%M:%S} --"
        yield f"  {one.at:%Y-%m-%d %H:%M:%S}  {one.text}"
        if one.then:
            yield f"  {'':19}  -> {one.then}"
    for one in facts.get("provider_words", ()):
        numbers = " ".join(str(part) for part in (one["status"], one["code"]) if part)
        words = one["words"]
        said = "no key decrypts it" if words is None else f'"{printable(words, len(words))}"'
        yield f"  {one['at']} {one['account']} {one['outcome']} {numbers}: {said}"
    spent = ", ".join(f"{name} {number}" for name, number in facts["credits"].items())
    doubt = doubt_in_words(facts["lost_calls"])
    yield f"credits: {spent or 'none'}" + (f", {doubt}" if doubt else "")
