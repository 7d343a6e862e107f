"""Lists on other machines: real servers on this one, for https, SFTP and S3."""

import asyncio
import gc
import io
import socket
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from types import SimpleNamespace

import pytest
import trustme
from aiohttp import ThreadedResolver, web

from onboarding_worker.features.list_sources import remote_lists
from onboarding_worker.lists.sources import LIST_SOURCES, CannotFetch, fetch, is_address
from tests.features.list_sources.folders.servers import Sftp, server
from tests.web.server_loop import Loop, loop

__all__ = ["loop", "server"]  # fixtures
LIST = b"customer_id,email\nA1,ann@example.com\n"
SECRET = "X-Amz-Signature=hemlig"


def fetched(address: str) -> bytes:
    out = io.BytesIO()
    fetch(address, out, LIST_SOURCES.offered())
    return out.getvalue()


def refusal(address: str) -> str:
    with pytest.raises(CannotFetch) as refused:
        fetched(address)
    assert "hemlig" not in str(refused.value)
    assert refused.value.__cause__ is None
    return str(refused.value)


class Https:
    def __init__(self) -> None:
        self.port = 0
        self.asked: list[tuple[str, dict[str, str]]] = []
        self.leads_to = ""

    async def answer(self, request: web.Request) -> web.StreamResponse:
        self.asked.append((request.path_qs, dict(request.headers)))
        match request.path:
            case "/moved":
                return web.Response(status=302, headers={"Location": self.leads_to})
            case "/gone":
                return web.Response(status=404, text="hemlig")
            case "/broken":
                response = web.StreamResponse(headers={"Content-Length": "1000"})
                await response.prepare(request)
                await response.write(LIST)
                assert request.transport is not None
                request.transport.close()
                return response
            case "/bucket/drips.csv" if request.method == "GET":
                response = web.StreamResponse(status=206, headers={"Content-Length": "1000"})
                await response.prepare(request)
                with suppress(ConnectionError):
                    for _ in range(500):
                        await response.write(b"x")
                        await asyncio.sleep(0.02)
                return response
            case "/bucket/hangs.csv" if request.method == "GET":
                response = web.StreamResponse(status=206, headers={"Content-Length": "1000"})
                await response.prepare(request)
                await response.write(b"x")
                time.sleep(1)  # noqa: ASYNC251 - nor does it answer to the end of TLS meanwhile
                return response
            case _:
                return web.Response(body=LIST)

    async def start(self, ssl) -> web.AppRunner:
        app = web.Application()
        app.router.add_get("/{path:.*}", self.answer)
        runner = web.AppRunner(app)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0, ssl_context=ssl)
        await site.start()
        assert site._server is not None
        self.port = site._server.sockets[0].getsockname()[1]  # type: ignore[attr-defined]
        return runner

    async def end(self, runner: web.AppRunner) -> None:
        # A connection that is closed waits for the client's last word of TLS: longer than the loop may live.
        for connection in runner.server.connections if runner.server else ():
            if connection.transport is not None:
                connection.transport.abort()
        await runner.cleanup()


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture(scope="module")
def started(loop: Loop, authority: trustme.CA) -> Iterator[Https]:
    import ssl

    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("localhost", "elsewhere.example").configure_cert(context)
    server = Https()
    runner = loop.run(server.start(context))
    yield server
    loop.run(server.end(runner))


@pytest.fixture
def https(started: Https, authority: trustme.CA, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Https:
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "ca.pem"))
    started.asked.clear()
    return started


def test_a_list_is_fetched_over_https_and_a_redirect_to_https_is_followed(https: Https):
    assert fetched(f"https://localhost:{https.port}/a/list.csv?{SECRET}") == LIST
    https.leads_to = f"/list.csv?{SECRET}"
    assert fetched(f"https://localhost:{https.port}/moved") == LIST
    assert [path for path, _ in https.asked] == [f"/a/list.csv?{SECRET}", "/moved", f"/list.csv?{SECRET}"]


class Here(ThreadedResolver):
    """Every name is this machine's."""

    async def resolve(self, host, port=0, family=socket.AF_INET):
        return [found | {"hostname": host} for found in await super().resolve("127.0.0.1", port, family)]


def test_a_log_in_of_netrc_goes_to_the_server_that_was_named_and_to_no_other(https: Https, tmp_path, monkeypatch):
    (tmp_path / "netrc").write_text("machine localhost login ona password hemlig\ndefault login ona password hemlig\n")
    (tmp_path / "netrc").chmod(0o600)
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    https.leads_to = f"https://localhost:{https.port}/list.csv"
    assert fetched(f"https://localhost:{https.port}/moved") == LIST
    monkeypatch.setattr("aiohttp.connector.DefaultResolver", Here)
    https.leads_to = f"https://elsewhere.example:{https.port}/list.csv"
    assert fetched(f"https://localhost:{https.port}/moved") == LIST
    assert ["Authorization" in headers for _, headers in https.asked] == [True, True, True, False]


def test_a_list_is_fetched_through_the_proxy_of_the_environment(https: Https, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:1")
    assert refusal(f"https://localhost:{https.port}/list.csv") == "the server cannot be reached"
    monkeypatch.setenv("NO_PROXY", "localhost")
    assert fetched(f"https://localhost:{https.port}/list.csv") == LIST


@pytest.mark.parametrize(
    ("path", "leads_to", "reason"),
    [
        ("gone", "", "the server answered 404"),
        ("broken", "", "the connection broke before the end of the list"),
        ("moved", "http://localhost/hemlig", "the server redirected to an address that is not https"),
        ("moved", "file:///etc/passwd", "the server redirected to an address that is not https"),
        ("moved", "https://u:hemlig@localhost/", "the server redirected to an address that is not https"),
        ("moved", "https://[hemlig", "the server redirected to an address that cannot be read"),
        ("moved", "/moved", "the server redirected more than 5 times"),
    ],
)
def test_what_a_server_may_not_do_is_refused_without_the_address(https: Https, path: str, leads_to: str, reason: str):
    https.leads_to = leads_to
    assert refusal(f"https://localhost:{https.port}/{path}?{SECRET}") == reason


def test_a_server_is_verified(https: Https, monkeypatch: pytest.MonkeyPatch):
    assert refusal(f"https://127.0.0.1:{https.port}/list.csv?{SECRET}") == "certificate for another host name"
    monkeypatch.delenv("SSL_CERT_FILE")
    assert refusal(f"https://localhost:{https.port}/list.csv?{SECRET}") == (
        "certificate not trusted (its authority is unknown here, or the server leaves out a certificate between)"
    )
    assert https.asked == []
    assert refusal(f"https://localhost:1/list.csv?{SECRET}") == "the server cannot be reached"


def test_a_list_that_is_too_large_is_left(https: Https, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(remote_lists, "LARGEST", len(LIST) - 1)
    assert refusal(f"https://localhost:{https.port}/list.csv") == "the list is larger than 4 GB"


def test_an_address_that_is_not_fetched_is_refused_with_what_to_do(subtests: pytest.Subtests):
    for address, reason in [
        ("http://localhost/list.csv", "a list is fetched from https://, s3://, sftp://, or read from a file"),
        ("ftp://u:hemlig@localhost/list.csv", "a list is fetched from https://, s3://, sftp://, or read from a file"),
        ("https://u:hemlig@localhost/list.csv", "use ~/.netrc, or an address that is signed for a short time"),
        ("sftp://u:hemlig@localhost/list.csv", "use a key, of the SSH agent or in ~/.ssh"),
        ("https:///list.csv", "the address has no host"),
        ("https://[hemlig/list.csv", "the address cannot be read"),
    ]:
        with subtests.test(address=address, reason=reason):
            assert is_address(address)
            assert refusal(address).endswith(reason)


def test_without_the_extra_the_error_says_how_to_install_it(monkeypatch: pytest.MonkeyPatch):
    for module, extra in (("aiobotocore.session", "s3"), ("asyncssh", "sftp")):
        monkeypatch.setitem(sys.modules, module, None)
        assert refusal(f"{extra}://host/list.csv").endswith(f"pip install 'onboarding-worker[{extra}]'")


@pytest.fixture
def sftp(server: Sftp, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> int:
    """The port of a server, and a home that has its keys."""
    (server.root / "list.csv").write_bytes(LIST)
    (tmp_path / ".ssh").mkdir(mode=0o700)
    (tmp_path / ".ssh" / "known_hosts").write_text(server.known_hosts)
    (tmp_path / ".ssh" / "id_ed25519").write_text(server.private_key)
    (tmp_path / ".ssh" / "id_ed25519").chmod(0o600)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("SSH_AUTH_SOCK", raising=False)
    return server.port


def test_a_list_is_fetched_over_sftp_from_a_host_that_is_known(sftp: int, tmp_path: Path):
    assert fetched(f"sftp://me@127.0.0.1:{sftp}/list.csv") == LIST
    assert refusal(f"sftp://me@127.0.0.1:{sftp}/hemlig.csv") == "there is no such file"
    (tmp_path / ".ssh" / "known_hosts").write_text("")
    assert refusal(f"sftp://other@127.0.0.1:{sftp}/list.csv").startswith("the host's key is not known")
    assert refusal("sftp://me@127.0.0.1:hemlig/list.csv")  # which does not repeat the port either


def test_a_list_that_takes_too_long_is_called_so_though_its_connection_breaks_as_it_is_given_up(monkeypatch):
    class Hangs:
        async def __aenter__(self):
            return self

        async def __aexit__(self, *_):
            raise OSError("the connection was lost")

        async def get_object(self, **_):
            await asyncio.sleep(3600)

    aws = SimpleNamespace(create_client=lambda _: Hangs())
    monkeypatch.setattr(remote_lists, "extra", lambda *_: SimpleNamespace(get_session=lambda: aws))
    monkeypatch.setattr(remote_lists, "_ALL", 0.01)
    assert refusal("s3://bucket/list.csv") == "the server did not answer in time"


def test_a_list_is_fetched_from_s3(https: Https, monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    pytest.importorskip("aiobotocore")
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"https://localhost:{https.port}")
    monkeypatch.setenv("AWS_CA_BUNDLE", str(tmp_path / "ca.pem"))
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "key")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "hemlig")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-west-1")
    assert fetched("s3://bucket/list.csv") == LIST
    monkeypatch.setattr(remote_lists, "_ALL", 0.5)
    for file in ("drips", "hangs"):
        assert refusal(f"s3://bucket/{file}.csv") == "the server did not answer in time"
    gc.collect()  # a connection that is left open warns here
