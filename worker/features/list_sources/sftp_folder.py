"""A folder of an SFTP server. The server's key is always checked, and the configuration alone says who we are."""

import secrets
from contextlib import AsyncExitStack, suppress
from datetime import datetime
from typing import Any, BinaryIO

from worker.features.list_sources.calls import CONNECT_SECONDS, Calls, RemoteFolder
from worker.features.list_sources.dropped_files import is_left_over
from worker.features.list_sources.place import Copying, Found, Kind, NotTaken
from worker.features.list_sources.remote_lists import extra, known_hosts
from worker.lists.sources import CannotFetch

_PART = 1 << 18  # bytes of one call: also over a slow line it ends in time
# The types of SFTP's attributes (SSH_FILEXFER_TYPE_…). A server of version 3 says them by the file's mode.
_KINDS = {1: Kind.FILE, 2: Kind.DIRECTORY, 3: Kind.LINK}


class SftpFolder(RemoteFolder):
    def remove(self, name: str) -> None:
        with suppress(CannotFetch), self._calls() as calls:
            calls.do(calls.client.remove(self._path(name)))

    async def _listed(self, client: Any, now: datetime) -> Found:
        found = Found()
        async for entry in client.scandir(self._path()):
            name = entry.filename.decode("utf-8", "surrogateescape")
            if found.wants(name):
                found.add(name, _KINDS.get(entry.attrs.type, Kind.OTHER), _stamp(entry.attrs))
            elif is_left_over(name):
                found.left(name, now.timestamp() - (entry.attrs.mtime or now.timestamp()))
            if found.is_full:
                break
        return found

    def _read(self, calls: Calls, name: str, stamp: str, copy: Copying) -> None:
        path = self._path(name)
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

    def _send(self, calls: Calls, name: str, content: BinaryIO) -> None:
        part, mode = self._path(f".onboard-{secrets.token_hex(16)}.part"), self.folder.mode
        try:
            file = calls.hold(calls.client.open(part, "xb", extra("asyncssh", "sftp").SFTPAttrs(permissions=mode)))
            while sent := content.read(_PART):
                calls.do(file.write(sent))
            calls.do(file.close())  # here, since a full disk may show only now
            calls.do(_renamed(calls.client, part, self._path(name)))
        except BaseException:
            with suppress(CannotFetch):
                calls.do(calls.client.remove(part))
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
