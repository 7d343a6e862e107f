"""Why a connection failed, in words: of TLS, by the server's refusal, or in the network.

Each function looks into the causes of the error, since kombu wraps all in an OperationalError. Texts of errors may hold
addresses and names, so none is repeated.
"""

import os
import socket
from collections.abc import Iterator

# OpenSSL's codes of a certificate that is refused, in words that say who has to do something.
OTHER_HOST = "certificate for another host name"
NOT_TRUSTED = "certificate not trusted"
_REFUSED = {
    9: "certificate not trusted (not valid yet, or this machine's clock is slow)",
    10: "certificate not trusted (expired)",
    18: "certificate not trusted (self-signed, and not named as `ca`)",
    19: "certificate not trusted (its authority is unknown here)",
    20: "certificate not trusted (its authority is unknown here, or the server leaves out a certificate between)",
    21: "certificate not trusted (its authority is unknown here, or the server leaves out a certificate between)",
    62: OTHER_HOST,
    64: OTHER_HOST,  # another address
}


def tls_failure(error: BaseException) -> str:
    """Why TLS failed; "" for an error that is not about TLS."""
    import ssl  # here: the logs of every command load this module

    found = list(causes(error))
    if refused := [cause for cause in found if isinstance(cause, ssl.SSLCertVerificationError)]:
        codes = (getattr(cause, "verify_code", None) for cause in refused)
        return next((_REFUSED[code] for code in codes if code in _REFUSED), NOT_TRUSTED)
    if any(isinstance(cause, ssl.SSLError) for cause in found):
        return "TLS handshake failed"
    return ""


def certificate_help(words: str, section: str) -> str:
    """What to do about a refused certificate, in our words or libpq's; "" where `words` are of something else."""
    if "expired" in words:
        return "let those who run the server renew its certificate"
    if "not valid yet" in words or "not yet valid" in words:
        return "look at this machine's clock; if it is right, let those who run the server renew its certificate"
    if OTHER_HOST in words or "does not match host name" in words:
        return f"write the host name that the certificate has into [{section}], or let the server present another"
    if NOT_TRUSTED in words or "certificate verify failed" in words:
        return f"if the authority is your own, name it in [{section}] ca; else let the server send its whole chain"
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
    """Why a server refuses that was reached; "" if it is not known that it does."""
    for cause in causes(error):
        kind, text = type(cause).__name__, str(cause)
        for parts, place in ((_TEXTS, text), (_REFUSALS, kind)):
            for part, words in parts.items():
                if part in place:
                    return words
    return ""


def in_words(error: BaseException) -> str:
    """Of TLS, a refusal and the network in words, any other by its type."""
    words = tls_failure(error) or refusal(error) or _network_failure(error)
    return words or type(error.__cause__ or error).__name__


def _network_failure(error: BaseException) -> str:
    for cause in causes(error):
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
    # redis-py has a ConnectionError of its own. It has no cause where the server closed the connection.
    lost = any(type(cause).__name__ == "ConnectionError" for cause in causes(error))
    return "connection lost" if lost else ""


def causes(error: BaseException) -> Iterator[BaseException]:
    """The error, and what it came of."""
    seen: list[BaseException] = []
    cause: BaseException | None = error
    while cause is not None and cause not in seen:
        seen.append(cause)
        yield cause
        cause = cause.__cause__ or cause.__context__
