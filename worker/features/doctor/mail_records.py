"""What a sender's domain says in DNS about its mail, and whether other mail servers will accept that. Only `doctor
--mail` loads it, and dnspython.

Each check asks `Ask` for records, of which `Dns` is one, and reads them as RFC 7208 (SPF), RFC 6376 and 8301 (DKIM),
RFC 7489 (DMARC) and RFC 7505 (no mail) say. It sees what is published, not how the relay signs or from which address
it sends.
"""

import base64
import binascii
import re
from collections.abc import Callable, Iterator, Sequence

import dns.exception
import dns.name
import dns.rdtypes.txtbase
import dns.resolver
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.serialization import load_der_public_key

from onboarding_worker.cli.feature_checks import Finding, failure, ok, warning
from onboarding_worker.core.foundation.notation import plain

MX, SPF, DKIM, DMARC, ALIGNMENT = "mail MX", "mail SPF", "mail DKIM", "mail DMARC", "mail alignment"
MOST_LOOKUPS = 10  # of a receiver for one SPF record; more are a permanent error
LEAST_BITS, GOOD_BITS = 1024, 2048
_DOT = re.compile(r"\.$")
_QUALIFIED = re.compile(r"^[-+~?]?")
SECONDS = 5.0  # for one question, over all servers
LONGEST = 4096  # characters of a record: a key of 16 kbit has fewer


class DnsFailed(Exception):
    """The DNS gave no answer, so nothing is known. The text says why."""


# The records of a name and a type ("MX", "TXT"), each as text; none if there are none. Raises DnsFailed.
Ask = Callable[[str, str], Sequence[str]]


class Dns:
    """The records of names. `server`: HOST and port to ask, in place of the system's servers."""

    def __init__(self, server: tuple[str, int] | None = None) -> None:
        """Raises DnsFailed if the system names no server."""
        try:
            self._resolver = dns.resolver.Resolver(configure=server is None)
        except dns.resolver.NoResolverConfiguration:
            raise DnsFailed("this machine names no DNS server") from None
        if server is not None:
            self._resolver.nameservers, self._resolver.port = [server[0]], server[1]
        self._resolver.lifetime = SECONDS

    def __call__(self, name: str, kind: str) -> Sequence[str]:
        """The records, each as text; none if there are none. Raises DnsFailed."""
        try:
            asked = dns.name.from_text(name, idna_codec=dns.name.IDNA_2008_Practical)
            answer = self._resolver.resolve(asked, kind, search=False)
        except (dns.resolver.NXDOMAIN, dns.resolver.NoAnswer):
            return ()
        except dns.exception.DNSException as error:
            raise DnsFailed(f"the DNS does not say what {name} has ({_in_words(error)})") from None
        # The strings of a text are parts of one. A terminal shows it, and a DNS server of somebody else may have put
        # escape codes in.
        return [
            plain(b"".join(record.strings).decode("utf-8", "replace"), most=LONGEST)
            if isinstance(record, dns.rdtypes.txtbase.TXTBase)
            else str(record)
            for record in answer
        ]


def _in_words(error: dns.exception.DNSException) -> str:
    match error:
        case dns.exception.Timeout():
            return f"no answer within {SECONDS:.0f} s"
        case dns.resolver.NoNameservers():
            return "its servers fail or refuse"
        case _:
            return type(error).__name__


def check_domain(ask: Ask, *, sender: str, envelope: str, selector: str | None) -> Iterator[Finding]:
    """All findings about a sender. `sender` and `envelope` are the domains of the From and the envelope address."""
    checks: dict[str, Callable[[], Finding]] = {
        MX: lambda: _mx(ask, envelope),
        SPF: lambda: _spf(ask, envelope),
        DKIM: lambda: _dkim(ask, sender, selector),
        DMARC: lambda: _dmarc(ask, sender),
    }
    for what, check in checks.items():
        try:
            yield check()
        except DnsFailed as error:
            yield failure(what, str(error), "check the DNS server, or name another one (--dns)")
    yield _alignment(sender, envelope)


def _mx(ask: Ask, domain: str) -> Finding:
    hosts = [_DOT.sub("", record.split()[-1]) for record in ask(domain, "MX")]
    if not hosts:
        add = "add one: bounces and answers come there, and some servers refuse mail without it"
        return warning(MX, f"{domain} has none", add)
    if hosts == [""]:
        return failure(MX, f"{domain} says that it takes no mail", "name a server: others refuse mail of such a domain")
    return ok(MX, f"{domain}: {', '.join(sorted(hosts))}")


def _spf(ask: Ask, domain: str) -> Finding:
    found = _spf_records(ask, domain)
    if not found:
        return failure(SPF, f"{domain} has no record", 'add a TXT record there: "v=spf1 include:YOUR-RELAY -all"')
    if len(found) > 1:
        return failure(SPF, f"{domain} has {len(found)} records, so none counts", "make one of them")
    terms = found[0].lower().split()[1:]
    names = [_QUALIFIED.sub("", term) for term in terms]
    if any(term in ("all", "+all") for term in terms):
        return failure(SPF, f"{domain} lets every server in the world send for it", 'end the record with "-all"')
    lookups = _lookups(ask, found[0], {domain})
    if lookups > MOST_LOOKUPS:
        many = f"{domain} makes a receiver look up {lookups} names; after {MOST_LOOKUPS} it gives up"
        return failure(SPF, many, "write addresses (ip4:, ip6:) in place of includes")
    if "all" not in names and not any(name.startswith("redirect=") for name in names):
        return warning(SPF, f"{domain} does not say what about other servers", 'end the record with "-all" or "~all"')
    if "?all" in terms:
        return warning(SPF, f"{domain} says nothing about other servers (?all)", 'end the record with "-all" or "~all"')
    return ok(SPF, f"{domain}: {found[0][:200]}")


def _spf_records(ask: Ask, domain: str) -> list[str]:
    return [record for record in ask(domain, "TXT") if record.lower().split(" ")[0] == "v=spf1"]


def _lookups(ask: Ask, record: str, seen: set[str]) -> int:
    """How many names a receiver looks up for this record, with those of its includes; it stops counting soon."""
    count = 0
    for term in record.lower().split()[1:]:
        name, _, value = _QUALIFIED.sub("", term).replace("redirect=", "redirect:", 1).partition(":")
        if name.partition("/")[0] not in ("include", "redirect", "a", "mx", "ptr", "exists"):
            continue
        count += 1
        if name in ("include", "redirect") and value and "%" not in value and value not in seen:
            seen.add(value)
            for inner in _spf_records(ask, value)[:1] if count <= MOST_LOOKUPS and len(seen) <= MOST_LOOKUPS else ():
                count += _lookups(ask, inner, seen)
    return count


def _dkim(ask: Ask, domain: str, selector: str | None) -> Finding:
    if selector is None:
        name_it = "name the selector that your relay signs with: the s= of a DKIM-Signature in a mail that it sent"
        return warning(DKIM, "without --dkim SELECTOR no key is looked up", name_it)
    name = f"{selector}._domainkey.{domain}"
    keys = [record for record in ask(name, "TXT") if "p=" in record.replace(" ", "")]
    if not keys:
        return failure(DKIM, f"{name} has no key", "publish the relay's key there, or correct --dkim")
    if len(keys) > 1:
        return failure(DKIM, f"{name} has {len(keys)} keys, so none counts", "leave one of them")
    tags = _tags(keys[0])
    encoded = re.sub(r"\s", "", tags.get("p", ""))
    if not encoded:
        return failure(DKIM, f"{name}: the key was revoked", "publish the key that the relay signs with now")
    kind = tags.get("k", "rsa").lower()
    bits = _rsa_bits(encoded) if kind == "rsa" else None
    if kind not in ("rsa", "ed25519") or (kind == "rsa" and bits is None):
        return failure(DKIM, f"{name}: its key cannot be read", "publish the relay's key again, in one piece")
    if bits is not None and bits < LEAST_BITS:
        return failure(DKIM, f"{name}: a key of {bits} bits, which receivers refuse", f"make one of {GOOD_BITS} bits")
    if "y" in tags.get("t", "").lower().split(":"):
        return warning(DKIM, f"{name} is marked as a test (t=y): receivers may ignore it", "remove t=y")
    if bits is not None and bits < GOOD_BITS:
        return warning(DKIM, f"{name}: a key of {bits} bits", f"make one of {GOOD_BITS} bits")
    return ok(DKIM, f"{name}: " + (f"a key of {bits} bits" if bits else "an Ed25519 key"))


def _rsa_bits(encoded: str) -> int | None:
    try:
        key = load_der_public_key(base64.b64decode(encoded, validate=True))
    except (ValueError, binascii.Error, UnsupportedAlgorithm):
        return None
    return key.key_size if isinstance(key, RSAPublicKey) else None


def _dmarc(ask: Ask, domain: str) -> Finding:
    # Up the tree, as receivers find the policy of a subdomain; the last name that is asked has two labels.
    labels = domain.split(".")
    for start in range(max(1, len(labels) - 1)):
        at = ".".join(labels[start:])
        found = [record for record in ask(f"_dmarc.{at}", "TXT") if _tags(record).get("v") == "DMARC1"]
        if len(found) > 1:
            return failure(DMARC, f"_dmarc.{at} has {len(found)} records, so none counts", "leave one of them")
        if found:
            return _policy(f"_dmarc.{at}", _tags(found[0]), is_above=start > 0)
    none = f"_dmarc.{domain} has no record; large mail services refuse bulk mail without one"
    add = f'add a TXT record to _dmarc.{domain}: "v=DMARC1; p=none; rua=mailto:REPORTS@{domain}", later p=quarantine'
    return failure(DMARC, none, add)


def _policy(name: str, tags: dict[str, str], *, is_above: bool) -> Finding:
    policy = (tags.get("sp") if is_above else None) or tags.get("p", "")
    if policy.lower() not in ("none", "quarantine", "reject"):
        return failure(DMARC, f"{name} has no policy that counts (p=)", "write p=none, p=quarantine or p=reject")
    if policy.lower() == "none":
        return warning(DMARC, f"{name}: p=none, so mail that others forge is delivered", "go on to p=quarantine")
    if "rua" not in tags:
        return warning(DMARC, f"{name}: p={policy}, and no address gets reports", "add rua=mailto:ADDRESS")
    return ok(DMARC, f"{name}: p={policy}")


def _alignment(sender: str, envelope: str) -> Finding:
    """Whether SPF speaks for the From address: both domains are one, or one is above the other (relaxed)."""
    if sender == envelope:
        return ok(ALIGNMENT, f"From and envelope are both of {sender}")
    longer, shorter = sorted((sender, envelope), key=len, reverse=True)
    if longer.endswith(f".{shorter}"):
        return ok(ALIGNMENT, f"From is of {sender}, the envelope of {envelope}: aligned unless DMARC says aspf=s")
    two = f"From is of {sender}, the envelope of {envelope}: SPF does not count for DMARC"
    return failure(ALIGNMENT, two, "send both from one domain, or sign with a DKIM key of the From domain")


def _tags(record: str) -> dict[str, str]:
    """The tags of a DKIM or DMARC record, by name."""
    parts = (part.partition("=") for part in record.split(";"))
    return {name.strip().lower(): value.strip() for name, mark, value in parts if mark}
