"""`onboard suppress`: the do-not-contact list."""

from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import click

from onboarding_worker.cli.exits import NEEDS_A_PERSON, CannotStart
from onboarding_worker.cli.invocation import Invocation, Said, saying
from onboarding_worker.cli.shared_options import YES, confirm
from onboarding_worker.core.database.audit_entries import note_alone
from onboarding_worker.core.foundation.notation import counted, written
from onboarding_worker.core.model.channels import SuppressionReason
from onboarding_worker.lists import phone_numbers, rules
from onboarding_worker.lists.decisions.store.do_not_contact import LIST, Gone
from onboarding_worker.providers.countries import alpha2
from onboarding_worker.providers.values import Refusal
from onboarding_worker.settings.needs import ENCRYPTING, STORED
from onboarding_worker.wiring.container import Parts
from onboarding_worker.wiring.os_user import os_user

CHUNK = 500
READS = ("list", "check", "forget")  # also with keys that do not fit
_addresses = partial(counted, noun="address", plural="addresses")
ASKED_FOR = (SuppressionReason.STOP, SuppressionReason.COMPLAINT)  # only the customer may take these back
HELP = """Put ADDRESSES (emails, phone numbers) on the do-not-contact list: no list, event or reminder writes to them.

\b
  onboard suppress vita@example.com +37060000000
  onboard suppress 060000000 --country LT --reason complaint
  onboard suppress --file unsubscribed.txt        one address per line; - reads standard input
  onboard suppress --check vita@example.com       is it suppressed, why, since when?
  onboard suppress --remove vita@example.com      allow messages to it again
  onboard suppress --list                         how many addresses are suppressed

It takes effect at once: the worker checks an address before it opens a session, and again before it sends a message.
After an address was removed from the list, `onboard retry BATCH` tries its failed rows again. Permanent bounces,
complaints and answers of STOP suppress an address automatically. An address is stored as a keyed hash, and encrypted
so that it can be hashed by another key: no command shows it. It stays when a customer is erased. Upper and lower case
of emails do not matter. Suppressing an email does not suppress the same customer's phone. The audit log records each
use, without the address. With --file the address is not in your shell's history either.
"""


@dataclass(frozen=True, repr=False)
class _Given:
    """One given address; `place` is its line, or its position on the command line. Personal: no repr."""

    place: int
    channel: str
    address: str

    @property
    def key(self) -> tuple[str, str]:
        return self.channel, self.address


class _Refused(NamedTuple):
    place: int
    problem: str
    hint: str


@click.command(help=HELP)
@click.argument("addresses", nargs=-1, metavar="[ADDRESS]...")
@click.option(
    "--file",
    "file",
    type=click.File(encoding="utf-8-sig"),
    help="A file of addresses, one per line; - is standard input.",
)
@click.option("--country", default="", help="The country of phone numbers without a +, such as LT.")
@click.option(
    "--reason",
    type=click.Choice([reason.value for reason in SuppressionReason]),
    default=SuppressionReason.MANUAL.value,
    show_default=True,
    help="The reason. If an address has several, the last in this order is kept: bounce, manual, stop, complaint.",
)
@click.option("--remove", "what", flag_value="remove", help="Allow messages to the addresses again.")
@click.option(
    "--check", "what", flag_value="check", help="Show for each address whether it is suppressed; changes nothing."
)
@click.option(
    "--list", "what", flag_value="list", help="Show how many addresses are suppressed, by channel and reason."
)
@click.option(
    "--forget-unknown",
    "what",
    flag_value="forget",
    help="Remove addresses, and erased customers, hashed by a key that is no longer configured: they can never be"
    " matched again. A later list writes to them.",
)
@YES
@saying()
def suppress(
    invocation: Invocation,
    addresses: tuple[str, ...],
    file: Any,
    country: str,
    reason: str,
    what: str | None,
    yes: bool,
) -> Said:
    if what in ("list", "forget"):
        if addresses or file:
            raise click.UsageError("this takes no address: the list cannot be read; --check checks one address")
    elif bool(addresses) == (file is not None):
        raise click.UsageError("give addresses, or a --file of them")
    refused: list[_Refused] = []
    with invocation.parts(STORED if what in READS else ENCRYPTING, migrate=True) as parts:
        if what == "list":
            return _counts(parts)
        if what == "forget":
            said = _forget(parts, yes=yes)
        else:
            given, refused = _read(file if file is not None else addresses, country, getattr(file, "name", ""))
            if refused and file is None:
                problems = [f"address {one.place}: {one.problem}; {one.hint}" for one in refused]
                raise CannotStart("\n".join([*problems, "nothing was changed, for no address"]))
            for one in refused:
                click.echo(f"line {one.place}: {one.problem}; {one.hint}", err=True)
            if what == "check":
                said = _check(parts, given)
            elif what == "remove":
                said = _remove(parts, given, yes=yes)
            else:
                said = _add(parts, given, SuppressionReason(reason))
    facts = {"action": what or "suppress", **said.facts, "refused": [one._asdict() for one in refused]}
    return Said(facts, said.lines, SystemExit(NEEDS_A_PERSON) if refused else None)


def _read(lines: Any, country: str, name: str) -> tuple[list[_Given], list[_Refused]]:
    """The addresses, and what is none. Raises CannotStart for an unknown country, or a file that is not text."""
    code = alpha2(country) if country else ""
    if code is None:
        raise CannotStart("--country: expected a country's code, such as LT")
    given: list[_Given] = []
    refused: list[_Refused] = []
    try:
        for place, line in enumerate(lines, start=1):
            text = line.lstrip("\ufeff").strip()  # of several byte order marks the reader takes one
            if not text or text.startswith("#"):
                continue
            channel = "email" if "@" in text else "sms"
            found = rules.email(text) if channel == "email" else phone_numbers.phone(text, code)
            if isinstance(found, Refusal):
                hint = found.hint.replace("or fill in country", "or give --country")
                refused.append(_Refused(place, found.problem, hint))
            else:
                given.append(_Given(place, channel, found))
    except UnicodeDecodeError:
        raise CannotStart(f"--file: {name}: expected text in UTF-8, one address per line") from None
    return given, refused


def _add(parts: Parts, given: list[_Given], reason: SuppressionReason) -> Said:
    new = 0
    for start in range(0, len(given), CHUNK):
        addresses = list(dict.fromkeys(one.key for one in given[start : start + CHUNK]))
        new += parts.do_not_contact.add(addresses, reason, os_user().name, now=parts.clock())
    known = len({one.key for one in given}) - new
    also = f"; {known:,} {'was' if known == 1 else 'were'} suppressed already" if known else ""
    return Said({"added": new, "known": known}, [f"{_addresses(new)} will get no more messages{also}"])


def _remove(parts: Parts, given: list[_Given], *, yes: bool) -> Said:
    kept = [(one, found) for one in given if (found := parts.do_not_contact.find(one.key)) is not None]
    asked = sum(found.reason in ASKED_FOR for _, found in kept)
    if asked and not yes:
        confirm(f"{_addresses(asked)} asked for no more messages, or complained; allow messages to them again?")
    removed = 0
    for start in range(0, len(kept), CHUNK):
        addresses = [one.key for one, _ in kept[start : start + CHUNK]]
        removed += parts.do_not_contact.remove(addresses, now=parts.clock())
    unknown = len(given) - removed
    also = f"; {unknown:,} {'was' if unknown == 1 else 'were'} not suppressed" if unknown else ""
    return Said({"removed": removed}, [f"{_addresses(removed)} may get messages again{also}"])


def _check(parts: Parts, given: list[_Given]) -> Said:
    note_alone(parts.database, LIST, now=parts.clock(), count=len(given), reason="asked whether it has these addresses")
    if gone := parts.do_not_contact.keys_gone().addresses:
        click.echo(f"warning: {_addresses(gone)} known by a key that is not in [encryption] digest_key", err=True)
    addresses: list[dict[str, Any]] = []
    lines = []
    for one in given:
        facts: dict[str, Any] = dict.fromkeys(("reason", "since", "source", "manual_by"))
        words = "not suppressed"
        if (kept := parts.do_not_contact.find(one.key)) is not None:
            facts = {"reason": kept.reason.value, "since": written(kept.since), "source": kept.source}
            facts["manual_by"] = kept.manual_by
            words = f"suppressed since {facts['since']}: {facts['reason']}, by {kept.source}"
            words += f"; also manual, by {kept.manual_by}" if kept.manual_by else ""
        addresses.append({"place": one.place, "channel": one.channel, "suppressed": kept is not None, **facts})
        lines.append(f"{one.place}: {one.channel}, {words}")
    return Said({"addresses": addresses}, lines)


def _counts(parts: Parts) -> Said:
    found, older, gone = parts.do_not_contact.counts()
    lines = [f"{channel}: {_addresses(number)}, {reason.value}" for channel, reason, number in found]
    lines = lines or ["no address is suppressed"]
    if older:
        by = "known by older keys of [encryption] digest_key: they are matched only by these"
        lines.append(f"{_addresses(older)} {by}")
    if any(gone):
        lines.append(
            f"{_in_words(gone)} known by a key that is not in [encryption] digest_key: they get messages\n"
            "until the key is put back; `onboard suppress --forget-unknown` removes them"
        )
    facts = [{"channel": channel, "reason": reason.value, "addresses": number} for channel, reason, number in found]
    by_gone = {"by_keys_that_are_gone": gone.addresses, "customers_by_keys_that_are_gone": gone.customers}
    return Said({"suppressed": facts, "by_older_keys": older} | by_gone, lines)


def _forget(parts: Parts, *, yes: bool) -> Said:
    gone = parts.do_not_contact.keys_gone()
    if any(gone) and not yes:
        confirm(f"forget {_in_words(gone)}, and write to them again? Their key, if put back, would match them again")
    forgotten = parts.do_not_contact.forget_gone(now=parts.clock())
    words = f"{_in_words(forgotten)} known by no key of [encryption] digest_key forgotten"
    return Said({"forgotten": forgotten.addresses, "forgotten_customers": forgotten.customers}, [words])


def _in_words(gone: Gone) -> str:
    customers = [counted(gone.customers, "erased customer")] if gone.customers else []
    addresses = [_addresses(gone.addresses)] if gone.addresses or not customers else []
    return " and ".join(addresses + customers)
