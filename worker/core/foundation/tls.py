"""Whom a client's connections trust and as whom they present themselves, in the form that each library takes.

There is no form without the check of the chain and of the host name: a connection is verified, or it has no TLS.
"""

import ipaddress
import socket
import ssl
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

# libpq of psycopg's wheels has no authorities of its own where no variable names them, so it gets Python's file.
SYSTEM_OF_LIBPQ = "system"


@dataclass(frozen=True)
class Tls:
    """A verified connection. All paths are of PEM files.

    `ca` replaces the system's authorities; with Redis it is added to them. The private key is in the file of the
    `certificate`.
    """

    ca: Path | None = None
    certificate: Path | None = None

    @property
    def is_usual(self) -> bool:
        """True if it trusts the system's authorities and presents no certificate, as every library does by itself."""
        return self == Tls()

    def context(self) -> ssl.SSLContext:
        """For asyncio, aiohttp and SMTP. Raises OSError or ssl.SSLError if a file is not what it should be."""
        context = ssl.create_default_context(cafile=self.ca)
        if self.certificate is not None:
            # A password is never asked for: a service has no terminal.
            context.load_cert_chain(self.certificate, password="")
        return context

    def amqp(self, host: str) -> dict[str, Any]:
        """The options of py-amqp, for one host."""
        # py-amqp compares the host name only if it is given.
        options: dict[str, Any] = {"cert_reqs": ssl.CERT_REQUIRED, "server_hostname": host}
        if self.ca is not None:
            options["ca_certs"] = str(self.ca)
        if self.certificate is not None:
            options |= {"certfile": str(self.certificate), "keyfile": None}
        return options

    def libpq(self) -> dict[str, str]:
        """The connection parameters of PostgreSQL's library."""
        ca = self.ca or ssl.get_default_verify_paths().cafile or SYSTEM_OF_LIBPQ
        parameters = {"sslmode": "verify-full", "sslrootcert": str(ca)}
        if self.certificate is not None:
            parameters |= {"sslcert": str(self.certificate), "sslkey": str(self.certificate)}
        return parameters


def is_loopback(host: str) -> bool:
    """True if `host` is this machine: the only host that a connection without TLS may go to, where that is a rule."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" and localhost_is_here()


@cache
def localhost_is_here() -> bool:
    """Whether the name leads nowhere else: without a line in /etc/hosts, a server of names answers for it."""
    try:
        found = socket.getaddrinfo("localhost", None, type=socket.SOCK_STREAM)
    except OSError:
        return False
    return all(ipaddress.ip_address(str(address[0]).partition("%")[0]).is_loopback for *_, address in found)
