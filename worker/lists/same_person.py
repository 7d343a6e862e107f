"""Whether details that come under a known id are of the person whose details are stored under it, or stand in a row
above of one list. Pure.

Two systems that count from 1, or one column that was sorted alone, give a second person the id of a first: the first
one's link would go to the second. So what both say is compared: name, date of birth, email address, phone number.

The customers that a list has already had are kept in hash tables with open addressing over plain arrays: 16 bytes for a
slot instead of the 150 of a dictionary. A million customers need some 34 MB, also while the tables grow: each has a
part of the customers and grows by itself.
"""

import re
import struct
from array import array
from collections.abc import Sequence
from datetime import date
from enum import StrEnum
from functools import lru_cache
from itertools import repeat
from typing import Any, NamedTuple

from onboarding_worker.core.model.channels import ADDRESSES, Address, folded_email
from onboarding_worker.core.model.customers import Customer, CustomerKind, Person
from onboarding_worker.lists.lines import OWN, PlainRows
from onboarding_worker.lists.other_names import without_accents
from onboarding_worker.templates.values import NAMES

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
    names = _own_names(person.first_name, person.last_name, person.company_name, kind)
    name = " ".join(sorted(word for one in names for word in _words(one)))
    return Marks(name, person.date_of_birth, folded_email(person.email) if person.email else "", person.phone)


def _own_names(first: str, last: str, company: str, kind: CustomerKind) -> tuple[str, ...]:
    """The names by whose words the customer is known."""
    whole = f"{first} {last}"
    apart = whole.isascii() or not ("\u02bc" in whole or "\u0149" in whole)  # these are letters, and between letters
    own = (first, last) if apart else (whole,)
    is_company = company and _words(company) and (kind is CustomerKind.COMPANY or not any(map(_words, own)))
    return (company,) if is_company else own


def compare(stored: Person, new: Person, kind: CustomerKind = CustomerKind.INDIVIDUAL) -> Match:
    """Whether the new details are of the stored person. `kind`: a company is known by its own name first.

    A name may leave out words of the other: "Ona" and "Petraitė Ona Marija" agree. A given name alone says nothing
    about a family name.
    """
    ours, theirs = marks(stored, kind), marks(new, kind)
    if ours.name and theirs.name and ours.name != theirs.name:
        if _names_agree(stored, new, kind):
            return Match.SAME
        if not any(getattr(stored, part) and getattr(new, part) for part in NAMES):
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
    own = [_words(f"{one.first_name} {one.last_name}") for one in (stored, new)]
    company = [_words(one.company_name) for one in (stored, new)]
    for ours, theirs in (company, own) if kind is CustomerKind.COMPANY else (own, company):
        if ours and theirs:
            fewer, more = sorted((set(ours), set(theirs)), key=len)
            return fewer <= more or "".join(ours) == "".join(theirs)  # "Anne-Marie", "Annemarie"
    return False


@lru_cache(maxsize=1 << 14)  # each row of a list asks this
def _words(name: str) -> Sequence[str]:
    """The words of a name without case and accents, with "Müller" as "Mueller"."""
    plain = name.lower() if name.isascii() else without_accents(name)
    for umlaut, letter in _UMLAUTS:
        plain = plain.replace(umlaut, letter)
    words = plain.split()
    if all(map(str.isalnum, words)):
        return words
    return _BETWEEN_WORDS.sub(" ", _INSIDE_A_WORD.sub("", plain)).split()


@lru_cache(maxsize=1 << 14)
def _sum_of_words(name: str) -> int:
    return sum(map(hash, _words(name)))


def _hash_of_words(first: str, last: str, company: str, kind: CustomerKind) -> int:
    """Of the words that a customer is known by, in any order; 0 for none."""
    if not company and first.isascii() and last.isascii():  # as most names
        words = _sum_of_words(first) + _sum_of_words(last)
    else:
        words = sum(map(_sum_of_words, _own_names(first, last, company, kind)))
    return words % _HASHES + 1 if words else 0


_CASES = "ABCDEFGHIJKLMNOPQRSTUVWXYZ012345"


def is_same_id(one: str, other: str) -> bool:
    """Whether two ids are one in two forms: with and without leading zeros, as SAP has them, or with 15 and with 18
    characters, as Salesforce has them."""
    return _plain_id(one) == _plain_id(other)


def _plain_id(text: str) -> str:
    if len(text) == 18 and text.isalnum() and not text.isdigit():
        text = _fifteen(text)
    return text.lstrip("0") if text.isdigit() else text


def _fifteen(text: str) -> str:
    """The id without its last three characters, which say of five others each which are capitals: what has no case may
    have lost it. An id that only has its length stays."""
    cases = [_CASES.find(sign) for sign in text[15:].upper()]
    capitals = [cases[place // 5] >> place % 5 & 1 for place in range(15)]
    if -1 in cases or any(big and not sign.isalpha() for sign, big in zip(text, capitals, strict=False)):
        return text
    return "".join(sign.upper() if big else sign.lower() for sign, big in zip(text, capitals, strict=False))


_TABLES = 64  # a power of two; the lowest bits of a digest name the table
_TABLE_BITS = _TABLES.bit_length() - 1
_LOW = (1 << 64) - 1
_FIRST_SIZE = 1 << 6  # slots of each; always a power of two
_HASHES = (1 << 32) - 1  # 0 is for what is not known
_OWN = len(Marks._fields) + 1 + len(ADDRESSES)  # the place of the columns for messages
_CUSTOMER = struct.Struct(f"={_OWN + 1}I")
_BITS = 32  # more columns for messages than these are in no list that has a header
# Each address with the places of its hash, and of its first row.
_ADDRESSES = [(name, Marks._fields.index(name), _OWN - len(ADDRESSES) + n) for n, name in enumerate(ADDRESSES)]
_Slots = tuple["array[int]", "array[int]", "array[int]"]  # of digests the two parts, and the rows; 0 is a free slot


class Seen:
    """Customers by a 96-bit digest of id and purpose, or addresses by one of address and column, each with its first
    row."""

    def __init__(self) -> None:
        free = [0] * _FIRST_SIZE
        self._tables = [(array("I", free), array("Q", free), array("I", free)) for _ in range(_TABLES)]
        self._left = [2 * _FIRST_SIZE // 3] * _TABLES  # until each must grow

    def row_or_remember(self, customer_id: str, purpose: str, row: int = 0) -> int | None:
        """The earlier row of this customer and purpose; None for the first row, which is remembered now. Without a row
        nothing is remembered."""
        # The separator cannot occur in either: ids are printable, purposes are slugs. Python's own hash of a text has a
        # random key for each process, and takes a third of the time of any other.
        low = hash(f"{customer_id}\n{purpose}") & _LOW
        high = hash(customer_id) & _HASHES
        place = low & (_TABLES - 1)
        highs, lows, rows = self._tables[place]
        slot = (low >> _TABLE_BITS) & (len(rows) - 1)
        while earlier := rows[slot]:
            if lows[slot] == low and highs[slot] == high:
                return earlier
            slot = (slot + 1) & (len(rows) - 1)
        if row:
            highs[slot], lows[slot], rows[slot] = high, low, row
            self._left[place] -= 1
            if not self._left[place]:
                self._tables[place] = _grown(highs, lows, rows)
                self._left[place] = 2 * len(rows) // 3
        return None


def _grown(highs: "array[int]", lows: "array[int]", rows: "array[int]") -> _Slots:
    """A table of twice the size with these rows."""
    size = 2 * len(rows)
    larger = array("I", [0]) * size, array("Q", [0]) * size, array("I", [0]) * size
    for high, low, row in zip(highs, lows, rows, strict=True):
        if row:
            slot = (low >> _TABLE_BITS) & (size - 1)
            while larger[2][slot]:
                slot = (slot + 1) & (size - 1)
            larger[0][slot], larger[1][slot], larger[2][slot] = high, low, row
    return larger


class SeenPeople:
    """What a list's rows say of each customer: one person, with one address of each kind for all purposes.

    Of each of their `Marks` a hash of 32 bits is kept, then the first row, the first row with each address, and a bit
    for each column for messages that a row has a value of: some 60 bytes for a customer.
    """

    def __init__(self) -> None:
        self._customers = Seen()  # each with its number here, from 1
        self._count = 0
        self._kept = bytearray()  # _CUSTOMER of each
        self._own: dict[str, int] = {}  # columns for messages, each with its bit

    def known_or_remember(self, plain: PlainRows) -> list[int]:
        """Those of the rows whose customers earlier rows have, too; the others are remembered."""
        ids, emails, *names = (plain.values.get(name, repeat("")) for name in OWN)
        words = map(_hash_of_words, *names, plain.values.get("kind", repeat(CustomerKind.INDIVIDUAL)))
        known = []
        for row, customer_id, email, name in zip(plain.rows, ids, emails, words, strict=False):
            if self._customers.row_or_remember(customer_id, "", self._count + 1) is not None:
                known.append(row)
                continue
            self._count += 1
            # A plain address is folded.
            self._kept += _CUSTOMER.pack(name, 0, hash(email) % _HASHES + 1, 0, row, row, row, 0)
        return known

    def match_or_remember(self, customer: Customer, row: int) -> "Earlier | None":
        """What earlier rows say of this customer; None: there is none. What this row adds is remembered."""
        person, birth = customer.person, customer.person.date_of_birth
        email, phone = person.email and folded_email(person.email), person.phone
        given = (
            _hash_of_words(person.first_name, person.last_name, person.company_name, customer.kind),
            hash(birth) % _HASHES + 1 if birth else 0,
            hash(email) % _HASHES + 1 if email else 0,
            hash(phone) % _HASHES + 1 if phone else 0,
        )
        own = person.message
        bits = sum(1 << bit for one in own if (bit := self._own.setdefault(one, len(self._own))) < _BITS) if own else 0
        number = self._customers.row_or_remember(customer.customer_id, "", self._count + 1)
        if number is None:
            self._count += 1
            self._kept += _CUSTOMER.pack(*given, row, row, row, bits)
            return None
        begin = (number - 1) * _CUSTOMER.size
        known = [*_CUSTOMER.unpack_from(self._kept, begin)]
        match = compare_marks(known[: len(given)], given)
        above = tuple(name for name, bit in self._own.items() if known[_OWN] & ~bits & (1 << bit))
        changed = None
        for column, place, at in _ADDRESSES:
            if changed is None and known[place] and given[place] and known[place] != given[place]:
                changed = column, known[at]
        if match is Match.SAME and changed is None:
            for _, place, at in _ADDRESSES:
                known[at] = known[at] if known[place] else row
            for place, one in enumerate(given):
                known[place] = known[place] or one
            known[_OWN] |= bits
            _CUSTOMER.pack_into(self._kept, begin, *known)
        return Earlier(known[len(given)], match, changed, above)


class Earlier(NamedTuple):
    """The first row of a customer. `match`: whether it is of the same person. `changed`: the first column of addresses
    in which an earlier row has another one, and that row. `above`: the columns for messages that only earlier rows have
    a value of."""

    row: int
    match: Match
    changed: tuple[str, int] | None
    above: tuple[str, ...]
