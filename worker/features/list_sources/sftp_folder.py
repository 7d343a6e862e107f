"""A folder of an SFTP server. The server's key is always checked, and the configuration alone says who we are.

Each look is a connection of its own: an import between two of them may take minutes, and no server has to keep us.
"""

import secrets
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, AsyncExitStack, contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import Any

from worker.features.list_sources.calls import CONNECT_SECONDS, LISTING_SECONDS, Calls, fetched
from worker.features.list_sources.dropped_files import is_left_over
from worker.features.list_sources.place import Away, Copy, Copying, Found, Kind, NotTaken, Write, prepared
from worker.features.list_sources.remote_lists import extra, known_hosts
from worker.features.list_sources.settings import Intake, Remote
from worker.lists.sources import CannotFetch
from worker.settings.secrets import Secret

_PART = 1 << 18  # bytes of one call: also over a slow line it ends in time
# The types of SFTP's attributes (SSH_FILEXFER_TYPE_…). A server of version 3 says them by the file's mode.
_KINDS = {1: Kind.FILE, 2: Kind.DIRECTORY, 3: Kind.LINK}


@dataclass(frozen=True)
class SftpFolder:
    folder: Intake
    at: Remote

    def found(self, *, now: datetime) -> Found:
        try:
            with self._calls() as calls:
                return calls.do(_listed(calls.client, self._path(), now), LISTING_SECONDS)
        except CannotFetch as error:
            raise Away(str(error)) from None

    def copied(self, name: str, stamp: str, *, largest: int, step: Callable[[], None]) -> AbstractContextManager[Copy]:
        return fetched(partial(self._read, name, stamp), largest=largest, step=step)

    def _read(self, name: str, stamp: str, copy: Copying) -> None:
        path = self._path(name)
        with self._calls() as calls:
            before = calls.do(calls.client.lstat(path))
            if _KINDS.get(before.type) is not Kind.FILE or _stamp(before) != stamp:
                raise NotTaken("it still changes", for_good=False)
            copy.expect(before.size or 0)
            file = calls.hold(calls.client.open(path, "rb", block_size=_PART))
            while part := calls.do(file.read(_PART)):
                copy.add(part)
            # By its name, and as it was opened: the name may be a link to another file meanwhile.
            after = (calls.do(calls.client.lstat(path)), calls.do(file.stat()))
            if {_stamp(before), *map(_stamp, after)} != {stamp} or _KINDS.get(after[0].type) is not Kind.FILE:
                raise NotTaken("it still changes", for_good=False)

    def write(self, name: str, write: Write) -> None:
        with prepared(write) as content:
            try:
                with self._calls() as calls:
                    part = self._path(f".onboard-{secrets.token_hex(16)}.part")
                    try:
                        _send(calls, part, content.read, self.folder.mode)
                        calls.do(_renamed(calls.client, part, self._path(name)))
                    except BaseException:
                        with suppress(CannotFetch):
                            calls.do(calls.client.remove(part))
                        raise
            except CannotFetch as error:
                raise NotTaken(f"{name} cannot be written: {error}", for_good=False) from None

    def remove(self, name: str) -> None:
        with suppress(CannotFetch), self._calls() as calls:
            calls.do(calls.client.remove(self._path(name)))

    def _path(self, name: str = "") -> bytes:
        return (f"{self.at.path.rstrip('/')}/{name}" if name else self.at.path).encode()

    @contextmanager
    def _calls(self) -> Iterator[Calls]:
        ssh = extra("asyncssh", "sftp")
        try:
            with Calls(lambda exits: self._connected(ssh, exits)) as calls:
                yield calls
        except CannotFetch:
            for secret in self._secrets:  # a file of a secret may have been replaced: the next look has the new one
                secret.reload()
            raise

    @property
    def _secrets(self) -> list[Secret]:
        return [one for one in (self.folder.key, self.folder.password) if one is not None]

    async def _connected(self, ssh: Any, exits: AsyncExitStack) -> Any:
        folder = self.folder
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


async def _listed(files: Any, path: bytes, now: datetime) -> Found:
    found = Found()
    async for entry in files.scandir(path):
        name = entry.filename.decode("utf-8", "surrogateescape")
        if found.wants(name):
            found.add(name, _KINDS.get(entry.attrs.type, Kind.OTHER), _stamp(entry.attrs))
        elif is_left_over(name):
            found.left(name, now.timestamp() - (entry.attrs.mtime or now.timestamp()))
        if found.is_full:
            break
    return found


def _stamp(facts: Any) -> str:
    return f"{facts.size}-{facts.mtime}-{facts.mtime_ns or 0}"


def _send(calls: Calls, path: bytes, read: Callable[[int], bytes], mode: int) -> None:
    asyncssh = extra("asyncssh", "sftp")
    file = calls.hold(calls.client.open(path, "xb", asyncssh.SFTPAttrs(permissions=mode)))
    while part := read(_PART):
        calls.do(file.write(part))
    calls.do(file.close())  # here, since a full disk may show only now


async def _renamed(files: Any, part: bytes, path: bytes) -> None:
    asyncssh = extra("asyncssh", "sftp")
    try:
        await files.posix_rename(part, path)
    except asyncssh.SFTPOpUnsupported:
        # The old protocol renames to a free name only. After a kill in between the file is written once more.
        with suppress(asyncssh.SFTPError):
            await files.remove(path)
        await files.rename(part, path)
