"""`onboard audit`: who did what; whether the log was changed; and the log as a file for other systems."""

import json
from collections.abc import Callable
from contextlib import suppress
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import click

from onboarding_worker.cli.exits import NotDone, Stopped
from onboarding_worker.cli.invocation import Invocation, Said, saying
from onboarding_worker.cli.shared_options import (
    JSON,
    OUT,
    YES,
    Read,
    confirm,
    counting,
    print_json_or,
    together,
    whole_file,
)
from onboarding_worker.core.foundation.notation import as_utc, counted, parse_duration
from onboarding_worker.core.rows.verdicts import Verdict
from onboarding_worker.core.rows.verdicts import check as check_verdicts
from onboarding_worker.features.audit.store.reading import AuditLog, Wanted
from onboarding_worker.features.audit.store.sealing import NotSigned, Point, precisely, read_point, seals_of
from onboarding_worker.settings.needs import STORED
from onboarding_worker.wiring.container import Parts
from onboarding_worker.wiring.opening import check_first_keys

# RFC 5424: the facility "log audit" (13) and the severity "notice" (5).
SYSLOG_PRIORITY = 13 * 8 + 5
EXPECTED = "expected a time, 2026-11-20 or 2026-11-20T12:00Z, or how long ago: 7 days"
LONGEST_AGO = timedelta(days=36500)  # all of the log


def _read_time(text: str) -> datetime | timedelta:
    with suppress(ValueError):
        return min(parse_duration(text), LONGEST_AGO)
    try:
        return as_utc(datetime.fromisoformat(text))
    except (ValueError, OverflowError):  # of the second: by UTC it is in no year of the calendar
        raise ValueError(EXPECTED) from None


TIME = Read("time", _read_time)
_filters = together(
    click.option("--since", type=TIME, help="From this time on (UTC), or the last 7 days, 12 hours, ..."),
    click.option("--until", type=TIME, help="Before this time."),
    click.option("--actor", help="Only what this actor did, as the log has it."),
    click.option("--action", help="Only this command or event: cancel, customer.erased, ..."),
    click.option("--subject", help="Only what was done to this: 'batch 7', 'customer C-1', ..."),
)


@click.group(invoke_without_command=True)
@_filters
@click.option("--limit", type=click.IntRange(1), default=100, show_default=True, help="Show the newest so many.")
@JSON
@click.pass_context
def audit(context: click.Context, /, limit: int, as_json: bool, **filters: Any) -> None:
    """Show who changed what, and who was shown links: the newest entries of the audit log, the oldest of them first.

    Each command and event that changes something has an entry, in the transaction of the change. The actor is the user
    of the operating system who ran the command, or the sender of the event. docs/features/audit.md says what the log
    proves.

    \b
    onboard audit --since '7 days'
    onboard audit --subject 'customer C-1' --json
    onboard audit verify                         was an entry changed or removed?
    onboard audit export --out audit.jsonl       for another system
    """
    if context.invoked_subcommand is not None:
        return
    invocation = context.ensure_object(Invocation)
    with invocation.parts(STORED, migrate=True) as parts:
        found = AuditLog(parts.database, parts.keyring).newest(_wanted(parts, **filters), most=limit)
    lines = [_line(one) for one in found] or ["the audit log has no such entry"]
    print_json_or({"entries": [_facts(one) for one in found]}, *lines, as_json=as_json)
    if len(found) == limit and not as_json:
        click.echo(f"the newest {limit:,}; --limit shows more, `onboard audit export` writes all", err=True)


@audit.command()
@click.option(
    "--head",
    type=Read("number:hash", read_point),
    help="A head that an earlier `verify` or `export` printed and you kept elsewhere: is it still in the chain?",
)
@saying(STORED, migrate=True)
def verify(parts: Parts, head: Point | None) -> Said:
    """Check that no entry of the audit log was changed or removed. Prints the head: keep it outside of the database.

    Each entry has a number, and a hash over itself and the entry before it. The head is the last number and hash,
    signed by the digest key of [encryption]. A change by a user who can write to the database, but has no key, is
    found. A user who has both can make the whole log anew, or put an older state of it back: only a head that you kept
    elsewhere shows that. It also checks whether each provider's result is the one that its webhook brought.

    \b
    onboard audit verify
    onboard audit verify --head 1204:9f86d0...

    Exit codes: 0 the log is whole; 1 it, or a result, was changed, and each place is named; 2 could not start.
    """
    with suppress(NotSigned):  # the check says it
        parts.once(seals_of).seal()
    found = AuditLog(parts.database, parts.keyring).verify(head, progress=_progress("checked"))
    results = check_verdicts(parts.database, parts.keyring)
    by = {one.value: results.numbers[one] for one in Verdict if one}
    facts: dict[str, Any] = {"whole": found.is_whole, "entries": found.entries, "removed_to": found.removed}
    facts |= {"unsealed": found.unsealed, "head": str(found.end), "results": by}
    facts |= {"changed_results_of": [*results.changed], "problems": found.problems, "more_problems": found.more}
    entries = counted(found.entries, "entry", "entries")
    lines = [f"{entries} checked: the log {'is whole' if found.is_whole else 'was changed'}"]
    if found.removed:
        lines.append(f"entries to {found.removed} were removed by [retention]")
    if found.unsealed:
        lines.append(f"{counted(found.unsealed, 'entry', 'entries')} not sealed yet, and not checked")
    each = ", ".join(f"{number:,} {what}" for what, number in by.items() if number)
    lines.append(f"{counted(sum(by.values()), 'result')} of sessions checked{f': {each}' if each else ''}")
    lines.append(f"head {found.end}")
    problems = [f"customer {customer_id}: {Verdict.CHANGED.doubt}" for customer_id in results.changed]
    problems += found.problems
    problems += [f"and {counted(found.more, 'other problem')}"] if found.more else []
    return Said(facts, lines, NotDone("\n".join(problems)) if problems else None)


@audit.command()
@_filters
@click.option("--after", type=click.IntRange(0), default=0, help="Only entries with a higher number: to go on.")
@click.option(
    "--format",
    "form",
    type=click.Choice(["jsonl", "syslog"]),
    default="jsonl",
    show_default=True,
    help="jsonl: a JSON object a line. syslog: the same object in a line of RFC 5424.",
)
@OUT
@click.pass_obj
def export(invocation: Invocation, /, after: int, form: str, out: Path | None, **filters: Any) -> None:
    """Write the entries of the audit log, the oldest first, with their numbers and hashes.

    For a SIEM, and for auditors, who can check the hashes without this software (docs/features/audit.md). The last line
    on standard error names the head, and the number to go on after next time.

    \b
    onboard audit export --out audit.jsonl
    onboard audit export --after 1204 --format syslog | openssl s_client -quiet -connect siem.example.com:6514
    """
    progress = _progress("written")
    with invocation.parts(STORED, migrate=True) as parts:
        try:
            parts.once(seals_of).seal()
            end = AuditLog(parts.database, parts.keyring).end()
        except NotSigned as error:
            raise Stopped(f"{error}: `onboard audit verify` says what is wrong; nothing was written") from None
        if after > end.number:
            raise Stopped(
                f"--after {after}: the log ends with entry {end.number}. This is another database, or an older state of"
                " it that was restored; nothing was written"
            )
        wanted = _wanted(parts, after=after, **filters)
        written = 0
        with whole_file(out) as stream:
            for one in AuditLog(parts.database, parts.keyring).in_order(wanted, to=end.number):
                facts = _facts(one)
                line = json.dumps(facts, ensure_ascii=False)
                if form == "syslog":  # of RFC 5424. The host is left out: the actor names it
                    line = f"<{SYSLOG_PRIORITY}>1 {facts['at']} - onboarding-worker - audit - \ufeff{line}"
                stream.write(f"{line}\n")
                written += 1
                progress(written)
    click.echo(f"{counted(written, 'entry', 'entries')} written; go on with --after {end.number}", err=True)
    click.echo(f"head {end}", err=True)


@audit.command()
@YES
@click.pass_obj
def accept(invocation: Invocation, yes: bool) -> None:
    """Sign the head of the audit log by the first digest key of [encryption], where the key of its signature is lost.

    First run `onboard audit verify --head` with a head that you kept, and find out why the key is not there: workers
    sign no head that another key has signed. The log has an entry for this.
    """
    if not yes:
        confirm("sign the head of the audit log as it is? Then no check shows any more which key had signed it")
    with invocation.parts(STORED, migrate=True) as parts:
        check_first_keys(parts.database, parts.keyring)
        try:
            end = parts.once(seals_of).accept(now=parts.clock())
        except NotSigned as error:
            raise Stopped(f"{error}: put the database back from a backup") from None
    click.echo(f"head {end}")


def _wanted(parts: Parts, *, after: int = 0, **filters: Any) -> Wanted:
    now = parts.clock()
    for name in ("since", "until"):
        if isinstance(filters[name], timedelta):
            filters[name] = now - filters[name]
    return Wanted(after=after, **filters)


def _facts(row: Any) -> dict[str, Any]:
    as_they_are = ("actor", "action", "subject", "count", "reason", "hash")
    return {"number": row.number, "at": precisely(row.at)} | {name: getattr(row, name) for name in as_they_are}


def _line(entry: Any) -> str:
    unit = " rows" if entry.subject.startswith("batch ") else ""
    count = f", {entry.count:,}{unit}" if entry.count != 1 else ""
    why = f" ({entry.reason})" if entry.reason else ""
    return f"{precisely(entry.at)}  {entry.actor}  {entry.action}: {entry.subject}{count}{why}"


def _progress(done: str) -> Callable[[int], None]:
    """Prints how many entries are done on standard error, once a second."""
    return counting(lambda entries: f"{counted(entries, 'entry', 'entries')} {done}")
