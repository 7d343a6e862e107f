"""Fetches a list from another machine: https, S3 and SFTP. What is fetched is bounded, and its sender is verified.

An operator names the address, and may name one in a private network. The server that answers may not choose: a redirect
leads to https only. No message repeats an address, which may hold a signature.
"""

import importlib
import os
from base64 import b64encode
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from netrc import NetrcParseError, netrc
from pathlib import Path
from typing import Any, BinaryIO
from urllib.parse import SplitResult, unquote, urljoin, urlsplit

from worker.core.foundation.connection_failures import tls_failure
from worker.core.foundation.tls import Tls
from worker.http import event_loop
from worker.lists.sources import CannotFetch, ListSource

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
    _SCHEMES[scheme](parts, _Bounded(out).write)


_INSTEAD = {
    "https": "use ~/.netrc, or an address that is signed for a short time",
    "s3": "use the AWS environment variables or ~/.aws",
    "sftp": "use a key, of the SSH agent or in ~/.ssh",
}


class _Bounded:
    def __init__(self, out: BinaryIO) -> None:
        self._out, self._left = out, LARGEST

    def write(self, chunk: bytes) -> None:
        self._left -= len(chunk)
        if self._left < 0:
            raise CannotFetch("the list is larger than 4 GB")
        self._out.write(chunk)


def _from_https(parts: SplitResult, write: Callable[[bytes], None]) -> None:
    event_loop.run(_get(parts.geturl(), write))


async def _get(address: str, write: Callable[[bytes], None]) -> None:
    import aiohttp  # imported here: most lists are files

    tls = Tls().context()
    timeout = aiohttp.ClientTimeout(total=_ALL, sock_connect=_CONNECT, sock_read=_SILENCE)
    server, log_in = urlsplit(address).netloc, _log_in(address)
    # Compressed content stays so: how much it grows is bounded where it is read. Not `trust_env`: a log-in of ~/.netrc
    # would go to each server that a redirect leads to.
    async with aiohttp.ClientSession(timeout=timeout, trust_env=False, auto_decompress=False) as session:
        for _ in range(MOST_REDIRECTS + 1):
            try:
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
            except (aiohttp.ClientError, TimeoutError, ValueError) as error:
                # Their texts hold the address.
                raise CannotFetch(tls_failure(error) or _without_address(error)) from None
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


def _without_address(error: Exception) -> str:
    import aiohttp

    match error:
        case TimeoutError():
            return "the server did not answer in time"
        case aiohttp.ClientPayloadError():
            return "the connection broke before the end of the list"
        case aiohttp.ClientConnectionError():
            return "the server cannot be reached"
        case _:
            return f"the answer cannot be read ({type(error).__name__})"


def _led_to(address: str, location: str) -> str:
    try:
        there = urljoin(address, location)
        parts = urlsplit(there)
    except ValueError:
        raise CannotFetch("the server redirected to an address that cannot be read") from None
    if parts.scheme != "https" or parts.username is not None or parts.password is not None:
        raise CannotFetch("the server redirected to an address that is not https")
    return there


def _from_s3(parts: SplitResult, write: Callable[[bytes], None]) -> None:
    aws = extra("aiobotocore.session", "s3")
    with in_words():
        event_loop.run(_stream(aws, parts.netloc, unquote(parts.path)[1:], write))


async def _stream(aws: Any, bucket: str, key: str, write: Callable[[bytes], None]) -> None:
    # Credentials, region and endpoint are AWS's own configuration. Connections are verified by default.
    async with _in_time(), AsyncExitStack() as last, aws.get_session().create_client("s3") as client:
        body = (await client.get_object(Bucket=bucket, Key=key))["Body"]
        # Behind its connection: closed first, it waits for the server's last word of TLS, longer than the loop lives.
        last.callback(body.close)
        while chunk := await body.read(CHUNK):
            write(chunk)


@asynccontextmanager
async def _in_time() -> AsyncIterator[None]:
    """Raises TimeoutError after `_ALL` seconds, whatever the libraries raise while they end what was under way."""
    import asyncio  # imported here: `--help` asks this module for its schemes

    deadline = asyncio.timeout(_ALL)
    try:
        async with deadline:
            yield
    except Exception:
        if deadline.expired():
            raise TimeoutError from None
        raise


def _from_sftp(parts: SplitResult, write: Callable[[bytes], None]) -> None:
    ssh = extra("asyncssh", "sftp")
    with in_words():
        event_loop.run(_read(ssh, parts, write))


async def _read(ssh: Any, parts: SplitResult, write: Callable[[bytes], None]) -> None:
    options = {"host": parts.hostname, "known_hosts": known_hosts(), "connect_timeout": _CONNECT, "password": None}
    options |= {} if parts.port is None else {"port": parts.port}
    options |= {} if parts.username is None else {"username": unquote(parts.username)}
    async with (
        _in_time(),
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
    """The file with the keys of known hosts; no keys if there is none.

    It is always named to asyncssh: without a name, `UserKnownHostsFile none` in ~/.ssh/config would switch the check of
    the host's key off, and so would None here.
    """
    file = Path("~/.ssh/known_hosts").expanduser()
    return str(file) if file.is_file() and os.access(file, os.R_OK) else b""


@contextmanager
def in_words() -> Iterator[None]:
    """Turns any error of the libraries into CannotFetch: their texts may hold addresses, user names and signatures."""
    try:
        yield
    except CannotFetch:
        raise
    except TimeoutError:
        raise CannotFetch("the server did not answer in time") from None
    except FileNotFoundError:
        raise CannotFetch("there is no such file") from None
    except PermissionError:
        raise CannotFetch("access was denied") from None
    except Exception as error:
        raise CannotFetch(tls_failure(error) or _by_code(error) or _by_type(error)) from None


def _by_type(error: Exception) -> str:
    names = [kind.__name__ for kind in type(error).__mro__]
    return next((_KNOWN_ERRORS[name] for name in names if name in _KNOWN_ERRORS), names[0])


def _by_code(error: Exception) -> str:
    """What S3 answered, by the code of its error."""
    answer = getattr(error, "response", None)
    if not isinstance(answer, dict):
        return ""
    code = str(answer.get("Error", {}).get("Code", ""))
    status = answer.get("ResponseMetadata", {}).get("HTTPStatusCode")
    return _KNOWN_CODES.get(code) or (f"the server answered {status}" if isinstance(status, int) else "")


_KNOWN_CODES = {
    "AccessDenied": "access was denied",
    "AllAccessDisabled": "access was denied",
    "403": "access was denied",
    "InvalidAccessKeyId": "the server does not know the access key",
    "SignatureDoesNotMatch": "the secret key does not fit the access key",
    "ExpiredToken": "the credentials have expired",
    "NoSuchBucket": "there is no such bucket",
    "NoSuchKey": "there is no such file",
    "404": "there is no such file",
    "PermanentRedirect": "the bucket is in another region",
    "RequestTimeTooSkewed": "the clock of this machine differs from the server's",
}
_KNOWN_ERRORS = {
    "SFTPNoSuchFile": "there is no such file",
    "SFTPPermissionDenied": "access was denied",
    "SFTPNoSpaceOnFilesystem": "no space is left on the server",
    "SFTPQuotaExceeded": "no space is left on the server",
    "SFTPFailure": "the server refused it, without a reason (its disk may be full)",
    "SFTPConnectionLost": "the connection broke",
    "ConnectionLost": "the connection broke",
    "DisconnectError": "the server ended the connection",
    "KeyImportError": "the key cannot be read",
    "KeyEncryptionError": "the key's passphrase is wrong",
    "HostKeyNotVerifiable": "the host's key is not known: connect once with sftp, or add it to ~/.ssh/known_hosts",
    "PermissionDenied": "the host accepted no key: see ssh-add -l, and ~/.ssh",
    "NoCredentialsError": "there are no AWS credentials",
    "NoRegionError": "no region is named",
    "EndpointConnectionError": "the server cannot be reached",
    "ConnectTimeoutError": "the server did not answer in time",
    "ReadTimeoutError": "the server did not answer in time",
    "HTTPClientError": "the connection broke",
    "ConnectionRefusedError": "the server cannot be reached",
    "OSError": "the server cannot be reached",
    "gaierror": "the server's name is not known",
}

_SCHEMES: dict[str, Callable[[SplitResult, Callable[[bytes], None]], None]] = {
    "https": _from_https,
    "s3": _from_s3,
    "sftp": _from_sftp,
}
SOURCE = ListSource(tuple(_SCHEMES), _fetch)
