"""A folder of another machine, worked by calls over one connection, from a thread without an event loop. Each call has
its bound of time.

S3, or a server that speaks its protocol: the objects below one prefix. S3 has no rename, and needs none: an object
appears as a whole, or not at all. Which version of an object was listed is its ETag, and exactly that version is read.

An SFTP server: its key is always checked, and the configuration alone says who we are.
"""

import secrets
import ssl
import stat
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Coroutine, Iterator
from contextlib import AsyncExitStack, contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime
from typing import Any, BinaryIO, TypeVar

from onboarding_worker.core.foundation.clock import monotonic
from onboarding_worker.features.list_sources.place import Away, Copy, Found, NotTaken, Write, kept, not_kept
from onboarding_worker.features.list_sources.remote_lists import extra, in_time, known_hosts
from onboarding_worker.features.list_sources.settings import Intake, Remote
from onboarding_worker.http import event_loop
from onboarding_worker.lists.sources import CannotFetch

T = TypeVar("T")
CONNECT_SECONDS = 30.0
# Shorter than the lease of a file that is being taken: a server that is silent for longer loses the file.
CALL_SECONDS = 25.0
LISTING_SECONDS = 120.0
# Of a whole file: each call may bring a byte, and each within its time.
FILE_SECONDS = 3600.0
_CLOSE_SECONDS = 5.0


async def _call(call: Awaitable[T], seconds: float = CALL_SECONDS) -> T:
    """The call's result. All errors of the library are CannotFetch."""
    async with in_time(seconds):
        return await call


@dataclass(frozen=True)
class RemoteFolder(ABC):
    """A folder of another machine. Each look is a connection of its own: an import between two of them may take
    minutes, and no server has to keep us."""

    folder: Intake
    at: Remote

    def found(self, *, now: datetime) -> Found:
        try:
            return self._do(lambda client, _: _call(self._listed(client, now), LISTING_SECONDS))
        except CannotFetch as error:
            raise Away(str(error)) from None

    @contextmanager
    def copied(self, name: str, stamp: str, *, largest: int, step: Callable[[], None]) -> Iterator[Copy]:
        until = monotonic() + FILE_SECONDS

        def in_time() -> None:
            step()
            if monotonic() > until:
                raise CannotFetch("the server sends it too slowly")

        with kept() as file:
            copy = Copy(file.buffer, largest=largest, step=in_time)
            try:
                self._do(lambda client, exits: self._read(client, exits, name, stamp, copy))
            except CannotFetch as error:
                raise NotTaken(f"it cannot be read: {error}", for_good=False) from None
            copy.content.seek(0)
            yield copy

    def write(self, name: str, write: Write) -> None:
        with kept() as file:
            try:
                write(file)
                file.flush()
            except OSError as error:
                raise not_kept(error) from None
            file.buffer.seek(0)
            try:
                self._do(lambda client, exits: self._send(client, exits, name, file.buffer))
            except CannotFetch as error:
                raise NotTaken(f"{name} cannot be written: {error}", for_good=False) from None

    def _do(self, work: Callable[[Any, AsyncExitStack], Coroutine[Any, Any, T]]) -> T:
        """What `work` returns for a connection of its own, and for what is closed with it. Raises CannotFetch."""
        folder = self.folder
        try:
            return event_loop.run(self._connected_for(work))
        except CannotFetch:
            for secret in (folder.key, folder.password, folder.access_key, folder.secret_key):
                if secret is not None:  # its file may have been replaced: the next look has the new one
                    secret.reload()
            raise

    async def _connected_for(self, work: Callable[[Any, AsyncExitStack], Coroutine[Any, Any, T]]) -> T:
        exits = AsyncExitStack()
        try:
            return await work(await _call(self._connected(exits), CONNECT_SECONDS), exits)
        finally:
            # A connection that broke cannot be closed in order; what was done is done.
            with suppress(CannotFetch):
                await _call(exits.aclose(), _CLOSE_SECONDS)

    @abstractmethod
    def remove(self, name: str) -> None: ...
    @abstractmethod
    async def _connected(self, exits: AsyncExitStack) -> Any:
        """What the calls are made with."""

    @abstractmethod
    async def _listed(self, client: Any, now: datetime) -> Found:
        """What is in the folder."""

    @abstractmethod
    async def _read(self, client: Any, exits: AsyncExitStack, name: str, stamp: str, copy: Copy) -> None:
        """Give the file's parts to the copy. Raises NotTaken."""

    @abstractmethod
    async def _send(self, client: Any, exits: AsyncExitStack, name: str, content: BinaryIO) -> None:
        """Write the file."""


_PART = 1 << 18  # bytes of one read: also over a slow line it ends in time
_WRITE_SECONDS = 600.0  # an object is sent by one call
_STAMP = 120  # signs, as the database keeps


class S3Folder(RemoteFolder):
    def remove(self, name: str) -> None:
        """Nothing is ever left over."""

    async def _listed(self, client: Any, now: datetime) -> Found:
        found, bucket, prefix = Found(), self.at.host, self.at.prefix
        pages = client.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix, Delimiter="/")
        async for page in pages:
            for one in page.get("Contents", []):
                name = one["Key"].removeprefix(prefix)
                if name and found.wants(name):
                    stamp = f"{one['Size']}-{one['LastModified'].timestamp():.3f}-{one['ETag']}"
                    found.add(name, stat.S_IFREG, stamp[:_STAMP])
                if found.is_full:
                    return found
        return found

    async def _read(self, client: Any, exits: AsyncExitStack, name: str, stamp: str, copy: Copy) -> None:
        etag = stamp.split("-", 2)[2]
        answer = await _call(_got(client, self._named(name) | {"IfMatch": etag}))
        if answer is None:
            raise NotTaken("it still changes", for_good=False)
        copy.expect(answer["ContentLength"])
        body = await _call(exits.enter_async_context(answer["Body"]))
        while part := await _call(body.read(_PART)):
            copy.add(part)

    async def _send(self, client: Any, exits: AsyncExitStack, name: str, content: BinaryIO) -> None:
        what = self._named(name) | {"Body": content, "ContentType": "text/csv; charset=utf-8"}
        await _call(client.put_object(**what), _WRITE_SECONDS)

    def _named(self, name: str) -> dict[str, Any]:
        return {"Bucket": self.at.host, "Key": f"{self.at.prefix}{name}"}

    async def _connected(self, exits: AsyncExitStack) -> Any:
        session, config, folder = extra("aiobotocore.session", "s3"), extra("aiobotocore.config", "s3"), self.folder
        options = config.AioConfig(
            connect_timeout=CONNECT_SECONDS,
            read_timeout=CALL_SECONDS,
            retries={"mode": "standard", "total_max_attempts": 2},
            max_pool_connections=1,
            # Only the configuration names the server: AWS's own could name one without TLS, and a proxy is one too.
            ignore_configured_endpoint_urls=True,
            proxies={},
            # Servers that are not AWS's know no newer checksums.
            request_checksum_calculation="when_required",
            response_checksum_validation="when_required",
            s3={"addressing_style": "path"} if folder.endpoint else {},
        )
        # Always named: a variable of AWS's could name another file, or none.
        given = {"endpoint_url": folder.endpoint, "verify": str(ssl.get_default_verify_paths().cafile or True)}
        if folder.access_key is not None and folder.secret_key is not None:
            given["aws_access_key_id"] = folder.access_key.reveal()
            given["aws_secret_access_key"] = folder.secret_key.reveal()
        return await exits.enter_async_context(session.get_session().create_client("s3", config=options, **given))


async def _got(client: Any, what: dict[str, Any]) -> Any:
    """The object; None if it is another version by now."""
    try:
        return await client.get_object(**what)
    except client.exceptions.ClientError as error:
        if error.response.get("Error", {}).get("Code") in ("PreconditionFailed", "412"):
            return None
        raise


# The types of SFTP's attributes (SSH_FILEXFER_TYPE_…). A server of version 3 says them by the file's mode.
_KINDS = {1: stat.S_IFREG, 2: stat.S_IFDIR, 3: stat.S_IFLNK}


class SftpFolder(RemoteFolder):
    def remove(self, name: str) -> None:
        with suppress(CannotFetch):
            self._do(lambda client, _: _call(client.remove(self._path(name))))

    async def _listed(self, client: Any, now: datetime) -> Found:
        found = Found()
        async for entry in client.scandir(self._path()):
            name = entry.filename.decode("utf-8", "surrogateescape")
            if found.wants(name):
                found.add(name, _KINDS.get(entry.attrs.type, 0), _stamp(entry.attrs))
            else:
                found.left(name, now.timestamp() - (entry.attrs.mtime or now.timestamp()))
            if found.is_full:
                break
        return found

    async def _read(self, client: Any, exits: AsyncExitStack, name: str, stamp: str, copy: Copy) -> None:
        path = self._path(name)
        before = await _call(client.lstat(path))
        if _KINDS.get(before.type) != stat.S_IFREG or _stamp(before) != stamp:
            raise NotTaken("it still changes", for_good=False)
        copy.expect(before.size or 0)
        file = await _call(exits.enter_async_context(client.open(path, "rb", block_size=_PART)))
        while part := await _call(file.read(_PART)):
            copy.add(part)
        # By its name, and as it was opened: the name may be a link to another file meanwhile.
        after = (await _call(client.lstat(path)), await _call(file.stat()))
        if {_stamp(before), *map(_stamp, after)} != {stamp} or _KINDS.get(after[0].type) != stat.S_IFREG:
            raise NotTaken("it still changes", for_good=False)

    async def _send(self, client: Any, exits: AsyncExitStack, name: str, content: BinaryIO) -> None:
        part = self._path(f".onboard-{secrets.token_hex(16)}.part")
        attributes = extra("asyncssh", "sftp").SFTPAttrs(permissions=self.folder.mode)
        try:
            file = await _call(exits.enter_async_context(client.open(part, "xb", attributes)))
            while sent := content.read(_PART):
                await _call(file.write(sent))
            await _call(file.close())  # here, since a full disk may show only now
            await _call(_renamed(client, part, self._path(name)))
        except BaseException:
            with suppress(CannotFetch):
                await _call(client.remove(part))
            raise

    def _path(self, name: str = "") -> bytes:
        return (f"{self.at.path.rstrip('/')}/{name}" if name else self.at.path).encode()

    async def _connected(self, exits: AsyncExitStack) -> Any:
        ssh, folder = extra("asyncssh", "sftp"), self.folder
        own = folder.known_hosts
        # `config` None: what ~/.ssh/config says is not the configuration's. Without an agent, for the same reason.
        options: dict[str, Any] = {
            "known_hosts": known_hosts() if own is None else own.encode(),
            "config": None,
            "agent_path": None,
            "username": self.at.user,
            "client_keys": None,
            "password": None,
            "preferred_auth": [],
            "connect_timeout": CONNECT_SECONDS,
            "login_timeout": CONNECT_SECONDS,
        }
        if folder.key is not None:
            options["client_keys"] = [ssh.import_private_key(folder.key.reveal() + "\n")]
            options["preferred_auth"] += ["publickey"]
        if folder.password is not None:
            options["password"] = folder.password.reveal()
            options["preferred_auth"] += ["password", "keyboard-interactive"]
        try:
            connection = await exits.enter_async_context(ssh.connect(self.at.host, self.at.port or 22, **options))
        except ssh.HostKeyNotVerifiable:
            raise CannotFetch("the server's key is not the one of `known_hosts`, or none is known") from None
        except ssh.PermissionDenied:
            raise CannotFetch("the server accepted neither the key nor the password") from None
        # Names are bytes: one that is not UTF-8 must not make the folder unreadable.
        return await exits.enter_async_context(connection.start_sftp_client(path_encoding=None))


def _stamp(facts: Any) -> str:
    return f"{facts.size}-{facts.mtime}-{facts.mtime_ns or 0}"


async def _renamed(files: Any, part: bytes, path: bytes) -> None:
    asyncssh = extra("asyncssh", "sftp")
    try:
        await files.posix_rename(part, path)
    except asyncssh.SFTPOpUnsupported:
        # The old protocol renames to a free name only. After a kill in between the file is written once more.
        with suppress(asyncssh.SFTPError):
            await files.remove(path)
        await files.rename(part, path)
