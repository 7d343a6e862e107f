"""Servers with a folder, on this machine: SFTP, and S3 as far as a folder needs it."""

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from xml.sax.saxutils import escape

import asyncssh
import pytest
from aiohttp import web

from onboarding_worker.settings.secrets import Secret
from tests.web.server_loop import Loop, loop

__all__ = ["loop"]

PASSWORD = "hemlig-password"


class Sftp:
    """A server that has one user, by a key or by a password. `root` is all that it shows."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.host, self.own = (asyncssh.generate_private_key("ssh-ed25519") for _ in range(2))
        self.port = 0
        self.connections = 0
        self.refuses_writes = False
        self.knows_posix_rename = True

    @property
    def known_hosts(self) -> str:
        return f"[127.0.0.1]:{self.port} {self.host.export_public_key().decode().strip()}\n"

    @property
    def private_key(self) -> str:
        return self.own.export_private_key().decode()

    def at(self, path: str) -> str:
        return f"sftp://bank@127.0.0.1:{self.port}{path}"

    @contextmanager
    def served(self, loop: Loop) -> Iterator["Sftp"]:
        box = self

        class Server(asyncssh.SSHServer):
            def connection_made(self, _connection):
                box.connections += 1

            def password_auth_supported(self):
                return True

            def validate_password(self, username, password):
                return (username, password) == ("bank", PASSWORD)

        class Files(asyncssh.SFTPServer):
            def write(self, file, offset, data):
                if box.refuses_writes:
                    raise asyncssh.SFTPFailure("")
                return super().write(file, offset, data)

            def posix_rename(self, old, new):
                if not box.knows_posix_rename:
                    raise asyncssh.SFTPOpUnsupported("")
                return super().posix_rename(old, new)

        (self.root.parent / "authorized").write_text(self.own.export_public_key().decode())

        async def start():
            return await asyncssh.create_server(
                Server,
                "127.0.0.1",
                0,
                server_host_keys=[self.host],
                authorized_client_keys=str(self.root.parent / "authorized"),
                sftp_factory=lambda channel: Files(channel, chroot=str(self.root)),
            )

        server = loop.run(start())
        self.port = server.get_port()
        yield self

        async def end():
            server.close()
            await server.wait_closed()

        loop.run(end())


@pytest.fixture
def server(loop, tmp_path):
    """An SFTP server with the folder /in."""
    (tmp_path / "served" / "in").mkdir(parents=True)
    with Sftp(tmp_path / "served").served(loop) as server:
        yield server


def log_in(server: Sftp) -> dict[str, Any]:
    """The options of a folder there."""
    return {"key": Secret(server.private_key), "known_hosts": server.known_hosts}


class S3:
    """A bucket. `meanwhile` is called between the listing of an object and its reading."""

    def __init__(self) -> None:
        self.objects: dict[str, bytes] = {}
        self.port = 0
        self.code = ""  # of the error that every call gets
        self.asked: list[str] = []
        self.keys: set[str] = set()
        self.page = 1000

    def etag(self, key: str) -> str:
        return f'"{hashlib.sha256(self.objects[key]).hexdigest()[:32]}"'

    async def answer(self, request: web.Request) -> web.StreamResponse:
        self.asked.append(f"{request.method} {request.path}")
        self.keys.add(request.headers.get("Authorization", "").partition("Credential=")[2].partition("/")[0])
        if self.code:
            return self._error(403, self.code)
        bucket, _, key = request.path.removeprefix("/").partition("/")
        if bucket != "bucket":
            return self._error(404, "NoSuchBucket")
        if request.method == "PUT":
            self.objects[key] = await request.read()
            return web.Response(headers={"ETag": self.etag(key)})
        if not key:
            return self._listing(request)
        if key not in self.objects:
            return self._error(404, "NoSuchKey")
        if request.headers.get("If-Match") != self.etag(key):
            return self._error(412, "PreconditionFailed")
        return web.Response(body=self.objects[key], headers={"ETag": self.etag(key)})

    def _listing(self, request: web.Request) -> web.Response:
        prefix = request.query["prefix"]
        keys = sorted(key for key in self.objects if key.startswith(prefix) and "/" not in key[len(prefix) :])
        first = int(request.query.get("continuation-token", 0))
        some = keys[first : first + self.page]
        more = first + self.page < len(keys)
        at = datetime(2026, 11, 20, tzinfo=UTC).isoformat().replace("+00:00", "Z")
        contents = "".join(
            f"<Contents><Key>{escape(key)}</Key><Size>{len(self.objects[key])}</Size>"
            f"<LastModified>{at}</LastModified><ETag>{escape(self.etag(key))}</ETag></Contents>"
            for key in some
        )
        token = f"<NextContinuationToken>{first + self.page}</NextContinuationToken>" if more else ""
        return web.Response(
            content_type="application/xml",
            text=f"<ListBucketResult><IsTruncated>{str(more).lower()}</IsTruncated>{token}{contents}</ListBucketResult>",
        )

    def _error(self, status: int, code: str) -> web.Response:
        return web.Response(
            status=status,
            content_type="application/xml",
            text=f"<Error><Code>{code}</Code><Message>hemlig</Message></Error>",
        )

    @contextmanager
    def served(self, loop: Loop, tls=None) -> Iterator["S3"]:
        async def start():
            app = web.Application(client_max_size=1 << 24)
            app.router.add_route("*", "/{path:.*}", self.answer)
            runner = web.AppRunner(app)
            await runner.setup()
            site = web.TCPSite(runner, "127.0.0.1", 0, ssl_context=tls)
            await site.start()
            self.port = runner.addresses[0][1]
            return runner

        runner = loop.run(start())
        yield self
        loop.run(runner.cleanup())
