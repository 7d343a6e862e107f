"""Fetches a list from another machine: https, S3 and SFTP. What is fetched is bounded, and its sender is verified.

An operator names the address, and may name one in a private network. The server that answers may not choose: a redirect
leads to https only. No message repeats an address, which may hold a signature.
"""

import importlib
import os
from base64 import b64encode
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from netrc import NetrcParseError, netrc
from pathlib import Path
from typing import Any, BinaryIO
from urllib.parse import SplitResult, unquote, urljoin, urlsplit

from onboarding_worker.core.foundation.connection_failures import tls_failure
from onboarding_worker.core.foundation.tls import Tls
from onboarding_worker.http import event_loop
from onboarding_worker.lists.sources import CannotFetch, ListSource

LARGEST = 4 << 30  # bytes
CHUNK = 1 << 20
MOST_REDIRECTS = 5
_CONNECT, _SILENCE, _ALL = 30, 60, 3600  # seconds


def _fetch(address: str, out: BinaryIO) -> None:
    scheme = address.partition("://")[0].lower()
    try:
        parts = urlsplit(address)
        has_password, host = parts.password is not None, parts.hostname
    except ValueError:
        raise CannotFetch("the address cannot be read") from None
    if has_password:
        raise CannotFetch("a password in an address can be seen by others: " + _INSTEAD[scheme])
    if not host:
        raise CannotFetch("the address has no host")

    def write(chunk: bytes) -> None:
        if out.tell() + len(chunk) > LARGEST:
            raise CannotFetch("the list is larger than 4 GB")
        out.write(chunk)

    event_loop.run(_SCHEMES[scheme](parts, write))


_INSTEAD = {
    "https": "use ~/.netrc, or an address that is signed for a short time",
    "s3": "use the AWS environment variables or ~/.aws",
    "sftp": "use a key, of the SSH agent or in ~/.ssh",
}


Write = Callable[[bytes], None]


async def _from_https(parts: SplitResult, write: Write) -> None:
    import aiohttp  # imported here: most lists are files

    tls = Tls().context()
    timeout = aiohttp.ClientTimeout(total=_ALL, sock_connect=_CONNECT, sock_read=_SILENCE)
    address, server = parts.geturl(), parts.netloc
    log_in = _log_in(address)
    # Compressed content stays so: how much it grows is bounded where it is read. Not `trust_env`: a log-in of ~/.netrc
    # would go to each server that a redirect leads to.
    async with aiohttp.ClientSession(timeout=timeout, trust_env=False, auto_decompress=False) as session:
        for _ in range(MOST_REDIRECTS + 1):
            with in_words((aiohttp.ClientError, ValueError)):  # their texts hold the address
                async with session.get(
                    address,
                    allow_redirects=False,
                    ssl=tls,
                    headers={"Accept-Encoding": "identity"} | (log_in if urlsplit(address).netloc == server else {}),
                    proxy=_proxy(address),
                ) as answer:
                    if answer.status in (301, 302, 303, 307, 308):
                        address = _led_to(address, answer.headers.get("Location", ""))
                        continue
                    if answer.status != 200:
                        raise CannotFetch(f"the server answered {answer.status}")
                    async for chunk in answer.content.iter_chunked(CHUNK):
                        write(chunk)
                    return
    raise CannotFetch(f"the server redirected more than {MOST_REDIRECTS} times")


def _log_in(address: str) -> dict[str, str]:
    """The header with what ~/.netrc, or the file that NETRC names, has for the address's host."""
    file = Path(os.environ.get("NETRC") or "~/.netrc").expanduser()
    try:
        found = netrc(str(file)).authenticators(urlsplit(address).hostname or "") if file.is_file() else None
    except (NetrcParseError, OSError, UnicodeDecodeError):
        raise CannotFetch("~/.netrc, or the file that NETRC names, cannot be read") from None
    user, _, password = found or ("", None, None)
    return {} if password is None else {"Authorization": "Basic " + b64encode(f"{user}:{password}".encode()).decode()}


def _proxy(address: str) -> str | None:
    """The proxy that HTTPS_PROXY names, unless NO_PROXY names the address's host."""
    from urllib.request import getproxies, proxy_bypass  # imported here: it loads much, and each `--help` loads this

    return None if proxy_bypass(urlsplit(address).hostname or "") else getproxies().get("https")


def _led_to(address: str, location: str) -> str:
    try:
        there = urljoin(address, location)
        parts = urlsplit(there)
    except ValueError:
        raise CannotFetch("the server redirected to an address that cannot be read") from None
    if parts.scheme != "https" or parts.username is not None or parts.password is not None:
        raise CannotFetch("the server redirected to an address that is not https")
    return there


async def _from_s3(parts: SplitResult, write: Write) -> None:
    aws = extra("aiobotocore.session", "s3")
    # Credentials, region and endpoint are AWS's own configuration. Connections are verified by default.
    async with in_time(_ALL), AsyncExitStack() as last, aws.get_session().create_client("s3") as client:
        body = (await client.get_object(Bucket=parts.netloc, Key=unquote(parts.path)[1:]))["Body"]
        # Behind its connection: closed first, it waits for the server's last word of TLS, longer than the loop lives.
        last.callback(body.close)
        while chunk := await body.read(CHUNK):
            write(chunk)


@asynccontextmanager
async def in_time(seconds: float) -> AsyncIterator[None]:
    """Ends after so long, whatever the libraries raise while they end what was under way. Raises CannotFetch."""
    import asyncio  # imported here: `--help` asks this module for its schemes

    deadline = asyncio.timeout(seconds)
    with in_words():
        try:
            async with deadline:
                yield
        except Exception:
            if deadline.expired():
                raise TimeoutError from None
            raise


async def _from_sftp(parts: SplitResult, write: Write) -> None:
    ssh = extra("asyncssh", "sftp")
    with in_words():  # reading the port of a wrong address raises, with a part of the address
        options = {"host": parts.hostname, "known_hosts": known_hosts(), "connect_timeout": _CONNECT, "password": None}
        options |= {} if parts.port is None else {"port": parts.port}
        options |= {} if parts.username is None else {"username": unquote(parts.username)}
    async with (
        in_time(_ALL),
        ssh.connect(**options) as connection,
        connection.start_sftp_client() as files,
        files.open(unquote(parts.path), "rb") as file,
    ):
        while chunk := await file.read(CHUNK):
            write(chunk)


def extra(module: str, name: str) -> Any:
    """The module, which an extra installs. Raises CannotFetch, with what to install."""
    try:
        return importlib.import_module(module)
    except ImportError:
        package = module.partition(".")[0]
        raise CannotFetch(
            f"{name}:// needs {package}: install the extra, pip install 'onboarding-worker[{name}]'"
        ) from None


def known_hosts() -> str | bytes:
    """The file with the keys of known hosts; no keys if there is none. It is always named to asyncssh: without a name,
    `UserKnownHostsFile none` in ~/.ssh/config would switch the check of the host's key off, and so would None here."""
    file = Path("~/.ssh/known_hosts").expanduser()
    return str(file) if file.is_file() and os.access(file, os.R_OK) else b""


@contextmanager
def in_words(kinds: tuple[type[Exception], ...] = (Exception,)) -> Iterator[None]:
    """Turns errors of the libraries, all or those of these kinds, into CannotFetch: their texts may hold addresses,
    user names and signatures."""
    try:
        yield
    except CannotFetch:
        raise
    except TimeoutError:  # whatever failed while it was given up
        raise CannotFetch("the server did not answer in time") from None
    except kinds as error:
        raise CannotFetch(tls_failure(error) or _known(error)) from None


def _known(error: Exception) -> str:
    """What S3 answered, by the code of its error; else what went wrong, by the error's type."""
    answer = getattr(error, "response", None)
    if isinstance(answer, dict):
        code, status = answer.get("Error", {}).get("Code"), answer.get("ResponseMetadata", {}).get("HTTPStatusCode")
        if words := _WORDS.get(str(code)) or (f"the server answered {status}" if isinstance(status, int) else ""):
            return words
    names = [kind.__name__ for kind in type(error).__mro__]
    return next((_WORDS[name] for name in names if name in _WORDS), f"the answer cannot be read ({names[0]})")


# By the words, codes of S3's errors and types of errors.
_KNOWN = {
    "access was denied": "AccessDenied AllAccessDisabled 403 SFTPPermissionDenied PermissionError",
    "the server does not know the access key": "InvalidAccessKeyId",
    "the secret key does not fit the access key": "SignatureDoesNotMatch",
    "the credentials have expired": "ExpiredToken",
    "there is no such bucket": "NoSuchBucket",
    "there is no such file": "NoSuchKey 404 SFTPNoSuchFile FileNotFoundError",
    "the bucket is in another region": "PermanentRedirect",
    "the clock of this machine differs from the server's": "RequestTimeTooSkewed",
    "no space is left on the server": "SFTPNoSpaceOnFilesystem SFTPQuotaExceeded",
    "the server refused it, without a reason (its disk may be full)": "SFTPFailure",
    "the connection broke": "SFTPConnectionLost ConnectionLost HTTPClientError",
    "the server ended the connection": "DisconnectError",
    "the key cannot be read": "KeyImportError",
    "the key's passphrase is wrong": "KeyEncryptionError",
    "the host's key is not known: connect once with sftp, or add it to ~/.ssh/known_hosts": "HostKeyNotVerifiable",
    "the host accepted no key: see ssh-add -l, and ~/.ssh": "PermissionDenied",
    "there are no AWS credentials": "NoCredentialsError",
    "no region is named": "NoRegionError",
    "the connection broke before the end of the list": "ClientPayloadError",
    "the server cannot be reached": "EndpointConnectionError ClientConnectionError ConnectionRefusedError OSError",
    "the server did not answer in time": "ConnectTimeoutError ReadTimeoutError",
    "the server's name is not known": "gaierror",
}
_WORDS = {name: words for words, names in _KNOWN.items() for name in names.split()}

_SCHEMES: dict[str, Callable[[SplitResult, Write], Coroutine[Any, Any, None]]] = {
    "https": _from_https,
    "s3": _from_s3,
    "sftp": _from_sftp,
}
SOURCE = ListSource(tuple(_SCHEMES), _fetch)
