"""Whom a client's connections trust and as whom they present themselves, in the form that each library takes; and why a
connection failed, in words.

There is no form without the check of the chain and of the host name: a connection is verified, or it has no TLS.
"""

import os
import socket
import ssl
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

# libpq of psycopg's wheels has no authorities of its own where no variable names them, so it gets Python's file.
SYSTEM_OF_LIBPQ = "system"


@dataclass(frozen=True)
class Tls:
    """A verified connection. All paths are of PEM files.

    `ca` replaces the system's authorities. `key` None: the private key is in the file of the `certificate`.
    """

    ca: Path | None = None
    certificate: Path | None = None
    key: Path | None = None

    @property
    def is_usual(self) -> bool:
        """True if it trusts the system's authorities and presents no certificate, as every library does by itself."""
        return self == Tls()

    def context(self) -> ssl.SSLContext:
        """For asyncio, aiohttp, SMTP and Redis. Raises OSError or ssl.SSLError if a file is not what it should be."""
        context = ssl.create_default_context(cafile=self.ca and str(self.ca))
        if self.certificate is not None:
            # A password is never asked for: a service has no terminal.
            context.load_cert_chain(self.certificate, self.key, password="")
        return context

    def amqp(self, host: str) -> dict[str, Any]:
        """The options of py-amqp, for one host."""
        # py-amqp compares the host name only if it is given.
        options: dict[str, Any] = {"cert_reqs": ssl.CERT_REQUIRED, "server_hostname": host}
        if self.ca is not None:
            options["ca_certs"] = str(self.ca)
        if self.certificate is not None:
            options |= {"certfile": str(self.certificate), "keyfile": self.key and str(self.key)}
        return options

    def libpq(self) -> dict[str, str]:
        """The connection parameters of PostgreSQL's library."""
        ca = self.ca or ssl.get_default_verify_paths().cafile or SYSTEM_OF_LIBPQ
        parameters = {"sslmode": "verify-full", "sslrootcert": str(ca)}
        if self.certificate is not None:
            parameters |= {"sslcert": str(self.certificate), "sslkey": str(self.key or self.certificate)}
        return parameters


# OpenSSL's codes of a certificate for another host name, or another address.
OTHER_HOST = (62, 64)


def tls_failure(error: BaseException) -> str:
    """Why TLS failed, in words without a host; "" for an error that is not about TLS. Looks into its causes."""
    causes = list(_causes(error))
    codes = [code for cause in causes if (code := getattr(cause, "verify_code", None)) is not None]
    if any(code in OTHER_HOST for code in codes):
        return "certificate for another host name"
    if codes or any(isinstance(cause, ssl.SSLCertVerificationError) for cause in causes):
        return "certificate not trusted"
    if any(isinstance(cause, ssl.SSLError) for cause in causes):
        return "TLS handshake failed"
    return ""


# What a server says that answers and refuses, by a part of the exception's name: each library has kinds of its own.
_REFUSALS = {
    "AccessRefused": "this user lacks a right",
    "Authentication": "it refuses the user or the password",
    "BusyLoading": "it still loads its data",
    "NoPermission": "this user lacks a right",
    "NotAllowed": "it has no such virtual host, or this user may not use it",
    "OutOfMemory": "its memory is full",
    "ReadOnly": "it is a replica, which takes no writes",
}
# Where one exception has several meanings, by a part of its text: RabbitMQ's AccessRefused, Redis's ResponseError.
_TEXTS = {
    "Login was refused": "it refuses the user or the password",
    "MISCONF": "it cannot save its data on its disk, and takes no writes",
    "max number of clients reached": "it has as many clients as it allows",
}


def refusal(error: BaseException) -> str:
    """Why a server refuses that was reached, in words without a host or a name; "" if it is not known that it does.

    Looks into the causes of the error.
    """
    for cause in _causes(error):
        kind, text = type(cause).__name__, str(cause)
        for parts, place in ((_TEXTS, text), (_REFUSALS, kind)):
            for part, words in parts.items():
                if part in place:
                    return words
    return ""


def in_words(error: BaseException) -> str:
    """Why a connection failed: of TLS, a refusal and the network in words, any other by its type. Looks into its
    causes, since kombu wraps all in an OperationalError. Texts of errors may hold addresses, so none is repeated."""
    words = tls_failure(error) or refusal(error) or _network_failure(error)
    return words or type(error.__cause__ or error).__name__


def _network_failure(error: BaseException) -> str:
    for cause in _causes(error):
        match cause:
            case socket.gaierror():
                return "host name not found"
            case ConnectionRefusedError():
                return "connection refused"
            case TimeoutError():
                return "no answer in time"
            case ConnectionError():
                return "connection lost"
            case OSError():  # py-amqp gives the end of a connection no number
                return os.strerror(cause.errno) if cause.errno else "connection lost"
    return ""


def _causes(error: BaseException) -> Iterator[BaseException]:
    seen: list[BaseException] = []
    cause: BaseException | None = error
    while cause is not None and cause not in seen:
        seen.append(cause)
        yield cause
        cause = cause.__cause__ or cause.__context__
