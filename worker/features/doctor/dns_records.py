"""Asks the DNS for records: the system's servers, or a named one. Only `doctor --mail` loads it, and dnspython."""

from collections.abc import Sequence

import dns.exception
import dns.name
import dns.rdtypes.txtbase
import dns.resolver

from worker.core.foundation.notation import plain
from worker.features.doctor.mail_records import DnsFailed

SECONDS = 5.0  # for one question, over all servers
LONGEST = 4096  # characters of a record: a key of 16 kbit has fewer


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
        return [_text(record) for record in answer]


def _text(record: object) -> str:
    if isinstance(record, dns.rdtypes.txtbase.TXTBase):  # its strings are parts of one text
        # A terminal shows it, and a DNS server of somebody else may have put escape codes in.
        return plain(b"".join(record.strings).decode("utf-8", "replace"), most=LONGEST)
    return str(record)


def _in_words(error: dns.exception.DNSException) -> str:
    match error:
        case dns.exception.Timeout():
            return f"no answer within {SECONDS:.0f} s"
        case dns.resolver.NoNameservers():
            return "its servers fail or refuse"
        case _:
            return type(error).__name__
