"""One log-in between the browser's leaving and its coming back, all in a cookie; and what the identity provider is
asked: where its addresses are, which keys sign, and whom a code is for. Answers are bounded in size and time, redirects
are not followed, and TLS is verified as for every other client."""

import asyncio
import base64
import secrets
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from hashlib import sha256
from hmac import digest
from typing import Any
from urllib.parse import quote, urlencode

from onboarding_worker.adapters.bodies import BadAnswer, json_object
from onboarding_worker.core.foundation.clock import Clock, monotonic
from onboarding_worker.core.model.http_messages import Broken, HttpAnswer, HttpRequest
from onboarding_worker.features.dashboard.users import Person
from onboarding_worker.features.oidc.id_token import NotProven, UnknownKey, proven
from onboarding_worker.features.oidc.section import Oidc
from onboarding_worker.http.client import Http
from onboarding_worker.http.trust import trust_of
from onboarding_worker.settings.addresses import web_url

KNOWN_SECONDS = 3600.0  # how long addresses and keys count
# A new key is looked for at most so often, and an issuer that does not answer is left alone for so long.
AGAIN_SECONDS, LEFT_ALONE_SECONDS = 60.0, 5.0
MOST_KEYS = 100
TIMEOUT = timedelta(seconds=5)
LARGEST = 256 * 1024  # bytes of one answer
BACK = "/dashboard/oidc"
NEEDED = ("authorization_endpoint", "token_endpoint", "jwks_uri")
LONGEST_PATH = 1000


class Unavailable(Exception):
    """The issuer cannot be asked, or answers what no issuer should. `args[0]` says why, and names no value."""


@dataclass(frozen=True, repr=False)
class Flow:
    """`secret` is random, and in this browser's cookie alone. What the issuer sees of it are hashes, each for one use:
    none of them leads to another. `to`: where the person wanted to go."""

    secret: str
    to: str = "/"

    @property
    def state(self) -> str:
        """Comes back in the address: shows that this browser began the log-in."""
        return self._derived("state")

    @property
    def nonce(self) -> str:
        """Comes back in the ID token: shows that the token was made for this log-in."""
        return self._derived("nonce")

    @property
    def verifier(self) -> str:
        """Goes with the code: shows that the process that redeems it has the browser's cookie (PKCE)."""
        return self._derived("verifier")

    @property
    def cookie(self) -> str:
        return f"{self.secret}.{base64.urlsafe_b64encode(self.to.encode()).decode()}"

    def _derived(self, what: str) -> str:
        return digest(self.secret.encode("utf-8", "surrogateescape"), f"oidc {what}".encode(), "sha256").hex()


def new_flow(to: str) -> Flow:
    return Flow(secrets.token_urlsafe(32), to if len(to) <= LONGEST_PATH else "/")


def flow_of(cookie: str) -> Flow:
    """The log-in of a cookie that we made."""
    secret, _, to = cookie.partition(".")
    return Flow(secret, base64.urlsafe_b64decode(to).decode())


@dataclass(frozen=True)
class Endpoints:
    authorization: str
    token: str
    keys: str
    posts_secret: bool  # the client's secret goes in the form, and not in a header
    names_itself: bool  # its answers in the browser's address have `iss` (RFC 9207)


class Issuer:
    """The configured issuer. Belongs to one loop."""

    def __init__(self, oidc: Oidc, clock: Clock) -> None:
        self.oidc = oidc
        self._clock = clock
        self._discovering, self._fetching = asyncio.Lock(), asyncio.Lock()
        self._endpoints: Endpoints | None = None
        self._endpoints_at = self._keys_at = self._failed_at = -KNOWN_SECONDS
        self._failure = ""
        self._keys: list[Mapping[str, Any]] = []
        self._clients: dict[str, Http] = {}

    @property
    def redirect_uri(self) -> str:
        return self.oidc.base_url + BACK

    async def address(self, flow: Flow) -> str:
        """Where the browser logs in. Raises Unavailable."""
        endpoint = (await self.endpoints()).authorization
        challenge = base64.urlsafe_b64encode(sha256(flow.verifier.encode()).digest()).decode().rstrip("=")
        asked = {"response_type": "code", "client_id": self.oidc.client_id, "redirect_uri": self.redirect_uri}
        asked |= {"scope": "openid profile", "state": flow.state, "nonce": flow.nonce}
        asked |= {"code_challenge": challenge, "code_challenge_method": "S256"}
        return f"{endpoint}{'&' if '?' in endpoint else '?'}{urlencode(asked)}"

    async def person(self, flow: Flow, code: str) -> Person:
        """Whom the code is for. Raises Unavailable, NotProven."""
        endpoints = await self.endpoints()
        token = await self._redeemed(endpoints, flow, code)
        try:
            return proven(token, await self.keys(), self.oidc, nonce=flow.nonce, now=self._clock())
        except UnknownKey:
            keys = await self.keys(newer=True)
            return proven(token, keys, self.oidc, nonce=flow.nonce, now=self._clock())

    async def endpoints(self) -> Endpoints:
        """Raises Unavailable."""
        async with self._discovering:
            now = monotonic()
            if self._endpoints is not None and now - self._endpoints_at < KNOWN_SECONDS:
                return self._endpoints
            if now - self._failed_at < LEFT_ALONE_SECONDS:
                raise Unavailable(self._failure)
            try:
                where = f"{self.oidc.issuer.rstrip('/')}/.well-known/openid-configuration"
                found = self._read(await self._got(where, "its discovery"))
            except Unavailable as error:
                self._failed_at, self._failure = monotonic(), str(error)
                raise
            self._endpoints, self._endpoints_at = found, monotonic()
            return found

    async def keys(self, *, newer: bool = False) -> list[Mapping[str, Any]]:
        """The keys that sign. `newer`: one was not among them. Raises Unavailable."""
        endpoints = await self.endpoints()
        async with self._fetching:
            age = monotonic() - self._keys_at
            if age >= (AGAIN_SECONDS if newer else KNOWN_SECONDS):
                listed = (await self._got(endpoints.keys, "its jwks_uri")).get("keys")
                if not isinstance(listed, list) or len(listed) > MOST_KEYS:
                    raise Unavailable(f"its jwks_uri has no list of at most {MOST_KEYS} keys")
                self._keys, self._keys_at = [key for key in listed if isinstance(key, dict)], monotonic()
            return self._keys

    async def close(self) -> None:
        for client in self._clients.values():
            await client.close()
        self._clients.clear()

    def _read(self, found: Mapping[str, Any]) -> Endpoints:
        if found.get("issuer") != self.oidc.issuer:
            raise Unavailable("its discovery document names another issuer: `issuer` is compared letter by letter")
        authorization, token, keys = (self._endpoint(found, name) for name in NEEDED)
        challenges = found.get("code_challenge_methods_supported")
        if isinstance(challenges, list) and "S256" not in challenges:
            raise Unavailable("it does not offer PKCE with S256")
        methods = found.get("token_endpoint_auth_methods_supported")
        posts = isinstance(methods, list) and "client_secret_basic" not in methods and "client_secret_post" in methods
        named = found.get("authorization_response_iss_parameter_supported") is True
        return Endpoints(authorization, token, keys, posts, named)

    def _endpoint(self, found: Mapping[str, Any], name: str) -> str:
        """An address of the issuer. Without TLS only if the issuer itself has none."""
        plain = self.oidc.issuer.startswith("http:")
        try:
            url = web_url(found.get(name), "").geturl()
        except ValueError:
            url = ""
        if not url or (not plain and not url.startswith("https:")):
            raise Unavailable(f"its discovery document has no usable {name}")
        return url

    async def _redeemed(self, endpoints: Endpoints, flow: Flow, code: str) -> str:
        """The ID token for a code."""
        oidc = self.oidc
        form = {"grant_type": "authorization_code", "code": code, "redirect_uri": self.redirect_uri}
        form |= {"code_verifier": flow.verifier}
        headers = {"Content-Type": "application/x-www-form-urlencoded", "Accept": "application/json"}
        if oidc.client_secret is None or endpoints.posts_secret:
            form["client_id"] = oidc.client_id
        if oidc.client_secret is not None and endpoints.posts_secret:
            form["client_secret"] = oidc.client_secret.reveal()
        elif oidc.client_secret is not None:
            # Each part is form-encoded first (RFC 6749, 2.3.1).
            both = f"{quote(oidc.client_id, safe='')}:{quote(oidc.client_secret.reveal(), safe='')}"
            headers["Authorization"] = f"Basic {base64.b64encode(both.encode()).decode()}"
        answer = await self._called(HttpRequest("POST", endpoints.token, headers, urlencode(form).encode()))
        if answer.status in (400, 401, 403):
            with suppress(BadAnswer):
                if json_object(answer.body).get("error") in ("invalid_client", "unauthorized_client"):
                    raise Unavailable("it refuses client_id or client_secret")
            raise NotProven("the issuer refuses the code")
        token = _object(answer, "its token_endpoint").get("id_token")
        if not isinstance(token, str):
            raise NotProven("the issuer's answer has no id_token")
        return token

    async def _got(self, url: str, what: str) -> Mapping[str, Any]:
        return _object(await self._called(HttpRequest("GET", url, {"Accept": "application/json"})), what)

    async def _called(self, request: HttpRequest) -> HttpAnswer:
        url = request.url
        if url not in self._clients:  # the issuer's, and three that its discovery document names
            if len(self._clients) > len(NEEDED):
                await self.close()  # the document has changed
            self._clients[url] = Http(trust=trust_of({url: self.oidc.protection}))
        answer = await self._clients[url].call(request, timeout=TIMEOUT)
        if isinstance(answer, Broken):
            raise Unavailable(f"it does not answer ({answer.detail})")
        if len(answer.body) > LARGEST:
            raise Unavailable(f"its answer is larger than {LARGEST // 1024} KiB")
        return answer


def _object(answer: HttpAnswer, what: str) -> Mapping[str, Any]:
    if answer.status != 200:
        raise Unavailable(f"{what} answers with status {answer.status}")
    try:
        return json_object(answer.body)
    except BadAnswer:
        raise Unavailable(f"{what} does not answer with a JSON object") from None
