"""The same customer again: what becomes of a row whose customer is known for its purpose. One rule, for lists, for
reports that come back, and for events. Refuses the rows of a customer who belongs to a sender of events, until a person
takes the customer over. Pure; docs/reference/known-customers.md has the table.

Also whether details that come under a known id are of the person whose details are stored under it. Two systems that
count from 1, or one column that was sorted alone, give a second person the id of a first: the first one's link would go
to the second. So what both say is compared: name, date of birth, email address, phone number.
"""

import re
import unicodedata
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import date
from enum import StrEnum
from typing import Any, NamedTuple

from worker.core.customers.customers import CustomerKind, FieldProblem, Person
from worker.core.model.channels import ADDRESSES, Address, folded_email
from worker.core.model.states import OPEN_JOBS, JobState


class Standing(StrEnum):
    """Where a customer is, for one purpose, by all rows of lists and events."""

    NEW = "new"  # no row
    OPEN = "open"  # a row is at work, also one that is held
    FINISHED = "finished"
    IN_DOUBT = "unknown"  # a call for a row that has ended may have opened a session
    FAILED = "failed"
    ENDED = "ended"  # lapsed or cancelled


class KnownRule(StrEnum):
    """The rule. `RETURNED` is that of a report that comes back, and is never chosen."""

    SKIP = "skip"
    REFRESH = "refresh"
    INVITE = "invite"
    RETURNED = "returned"


@dataclass(frozen=True, kw_only=True)
class KnownChoices:
    """What a person chose for the customers of a list who are known. `rule`: what becomes of them.

    `allow_erased`: customers who were erased on request are brought back; else their rows are refused.
    `another_person`: who comes under the id of a known customer and agrees in nothing takes the id over; else the row
    is refused. `take_over`: customers who belong to a sender of events become the lists'; else their rows are refused.
    """

    rule: KnownRule = KnownRule.REFRESH
    allow_erased: bool = False
    another_person: bool = False
    take_over: bool = False


AS_USUAL = KnownChoices()


class Becomes(StrEnum):
    LEADS = "leads"  # a row of work: a session, unless the customer has one that still opens, and a message
    JOINS = "joins"  # no call and no message: it has the state of the row that serves the customer
    FINISHED = "finished"  # no call and no message: it has the customer's result
    HELD = "held"  # a person decides
    NOTHING = "nothing"  # no row of work: the report says why


@dataclass(frozen=True)
class Decision:
    """`details`: the row's details replace those that are stored, as far as it has any. `link`: where the address is
    another one, the present link is sent to it. `retry`: the failed row is tried again."""

    becomes: Becomes
    details: bool = True
    link: bool = False
    retry: bool = False


_JOINS, _LEADS = Decision(Becomes.JOINS), Decision(Becomes.LEADS)
_FINISHED, _HELD = Decision(Becomes.FINISHED), Decision(Becomes.HELD)
_NOTHING = Decision(Becomes.NOTHING, details=False)
_REFRESH = {
    Standing.OPEN: _JOINS,
    Standing.FINISHED: _FINISHED,
    Standing.IN_DOUBT: _HELD,
    Standing.FAILED: _LEADS,
    Standing.ENDED: _LEADS,
}
_TABLE: dict[KnownRule, dict[Standing, Decision]] = {
    KnownRule.REFRESH: _REFRESH,
    KnownRule.INVITE: _REFRESH | {Standing.FINISHED: _LEADS},
    KnownRule.SKIP: {
        Standing.OPEN: Decision(Becomes.JOINS, details=False),
        Standing.FINISHED: Decision(Becomes.FINISHED, details=False),
        Standing.IN_DOUBT: _NOTHING,
        Standing.FAILED: _NOTHING,
        Standing.ENDED: _NOTHING,
    },
    # Only rows that were changed.
    KnownRule.RETURNED: {
        Standing.OPEN: Decision(Becomes.NOTHING, link=True),
        Standing.FINISHED: _NOTHING,
        Standing.IN_DOUBT: Decision(Becomes.NOTHING),
        Standing.FAILED: Decision(Becomes.NOTHING, link=True, retry=True),
        Standing.ENDED: Decision(Becomes.NOTHING),
    },
}


def decide(rule: KnownRule, standing: Standing) -> Decision:
    """What becomes of the row. A row of a report that no one has changed is not asked about: nothing becomes of it."""
    return _LEADS if standing is Standing.NEW else _TABLE[rule][standing]


def standing_of(states: Collection[JobState], *, finished: bool = False) -> Standing:
    """By the states alone, so never `IN_DOUBT`: `lists.store.admission` finds calls in doubt.

    `states`: of the customer's rows that joined no other, the oldest first. `finished`: also in a purged batch.
    """
    if any(state in OPEN_JOBS for state in states):
        return Standing.OPEN
    if finished or JobState.COMPLETED in states:
        return Standing.FINISHED
    if not states:
        return Standing.NEW
    last = [*states][-1]
    return Standing.FAILED if last is JobState.FAILED else Standing.ENDED


WAS_ERASED = FieldProblem(
    "customer_id",
    "the customer was erased on request",
    "leave the row out; or use --allow-erased to bring the customer back",
)
ANOTHER_PERSON = FieldProblem(
    "customer_id",
    "same id, another person?",
    "nothing agrees with what is stored: give each person an id of its own; or use --another-person",
)
IS_CALLED = FieldProblem(
    "customer_id",
    "a call for the person who has the id is under way or in doubt",
    "decide about a row that is held; then import the row again",
)


def owned_by(owner: str) -> FieldProblem:
    """Why the row of a customer is refused who belongs to this sender of events."""
    take_over = "leave the row out; or take the customer over with --take-over, by command"
    return FieldProblem("customer_id", f"first requested by sender {owner}", take_over)


def refuses_lists(owner: str, wide: Collection[str]) -> bool:
    """Whether a list's row is refused for a customer of this owner, until a person takes the customer over. `wide`: the
    senders that reach every customer anyway.

    Ids are often counted: a sender that has named one first would get the link of the customer whom the list means.
    """
    return bool(owner) and owner not in wide


# Letters that Unicode does not take apart into a plain one and its accent.
_LETTERS = str.maketrans({"ø": "o", "ł": "l", "đ": "d", "ð": "d", "ħ": "h", "ı": "i", "æ": "ae", "œ": "oe", "þ": "th"})
_INSIDE_A_WORD = re.compile("['’ʼ`´]")
_BETWEEN_WORDS = re.compile(r"[\W_]+")
_UMLAUTS = (("ae", "a"), ("oe", "o"), ("ue", "u"))  # "ue" is written for "ü", too


class Match(StrEnum):
    SAME = "same"  # something agrees, or nothing can be compared
    CHANGED_ADDRESS = "changed address"  # all that both have is one kind of address, and it differs
    ANOTHER = "another"


class Marks(NamedTuple):
    """What a person is known by, each in one form for all its spellings; empty where it is not known. Personal."""

    name: str
    birth: date | None
    email: str
    phone: str


def marks(person: Person, kind: CustomerKind = CustomerKind.INDIVIDUAL) -> Marks:
    if kind is CustomerKind.COMPANY:
        name = _words(person.company_name) or _own_name(person)
    else:
        name = _own_name(person) or _words(person.company_name)
    return Marks(
        " ".join(sorted(name)), person.date_of_birth, folded_email(person.email) if person.email else "", person.phone
    )


def compare(stored: Person, new: Person, kind: CustomerKind = CustomerKind.INDIVIDUAL) -> Match:
    """Whether the new details are of the stored person. `kind`: a company is known by its own name first.

    A name may leave out words of the other: "Ona" and "Petraitė Ona Marija" agree. A given name alone says nothing
    about a family name.
    """
    ours, theirs = marks(stored, kind), marks(new, kind)
    if ours.name and theirs.name and ours.name != theirs.name:
        if _names_agree(stored, new, kind):
            return Match.SAME
        if not _same_parts(stored, new):
            ours, theirs = ours._replace(name=""), theirs._replace(name="")
    return compare_marks(ours, theirs)


def compare_marks(ours: Sequence[Any], theirs: Sequence[Any]) -> Match:
    """As `compare`, by `Marks` alone, or by hashes of them: what is empty or 0 is not known."""
    both = [place for place, (one, other) in enumerate(zip(ours, theirs, strict=True)) if one and other]
    if not both or any(ours[place] == theirs[place] for place in both):
        return Match.SAME
    only_address = len(both) == 1 and Marks._fields[both[0]] in ADDRESSES
    return Match.CHANGED_ADDRESS if only_address else Match.ANOTHER


def changed_addresses(stored: Person, new: Person) -> tuple[Address, ...]:
    """Which addresses both have, and differ. Another spelling of one mailbox is no change, nor is an address that was
    not known before."""
    ours, theirs = ((folded_email(one.email) if one.email else "", one.phone) for one in (stored, new))
    pairs = zip(ADDRESSES, ours, theirs, strict=True)
    return tuple(name for name, one, other in pairs if one and other and one != other)


def in_words(stored: Person, new: Person) -> str:
    """What new details do to the addresses, for the audit log: never an address itself. Empty: nothing."""
    added = [name for name in ("email", "phone") if getattr(new, name) and not getattr(stored, name)]
    words = {"changed": changed_addresses(stored, new), "added": added}
    return ", ".join(f"{' and '.join(names)} {what}" for what, names in words.items() if names)


def _names_agree(stored: Person, new: Person, kind: CustomerKind) -> bool:
    own = (_own_name(stored), _own_name(new))
    company = (_words(stored.company_name), _words(new.company_name))
    for ours, theirs in (company, own) if kind is CustomerKind.COMPANY else (own, company):
        if ours and theirs:
            fewer, more = sorted((set(ours), set(theirs)), key=len)
            return fewer <= more or "".join(ours) == "".join(theirs)  # "Anne-Marie", "Annemarie"
    return False


def _same_parts(stored: Person, new: Person) -> bool:
    """Whether both have one part of a name."""
    return any(getattr(stored, part) and getattr(new, part) for part in ("first_name", "last_name", "company_name"))


def _own_name(person: Person) -> list[str]:
    return _words(f"{person.first_name} {person.last_name}")


def _words(name: str) -> list[str]:
    """The words of a name without case and accents, with "Müller" as "Mueller". Each row of a list asks this."""
    plain = name.lower()
    if not plain.isascii():
        plain = unicodedata.normalize("NFKD", name.casefold()).translate(_LETTERS)
        plain = "".join(letter for letter in plain if not unicodedata.combining(letter))
    for umlaut, letter in _UMLAUTS:
        plain = plain.replace(umlaut, letter)
    words = plain.split()
    if all(map(str.isalnum, words)):
        return words
    return _BETWEEN_WORDS.sub(" ", _INSIDE_A_WORD.sub("", plain)).split()
