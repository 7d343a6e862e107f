"""An identity provider on 127.0.0.1 that signs people in at once, and can misbehave."""

import asyncio
import base64
import json
from collections.abc import Callable
from datetime import datetime
from hashlib import sha256
from typing import Any
from urllib.parse import parse_qs

import jwt
from aiohttp import web
from aiohttp.test_utils import TestServer

from tests.suite import rsa_keys

KEYS = {"one": rsa_keys.OURS, "other": rsa_keys.ANOTHER}
CLIENT, SECRET = "onboarding", "the-clients-secret"
BACK = "/dashboard/oidc"


def public(name: str, **more: Any) -> dict[str, Any]:
    found: dict[str, Any] = jwt.algorithms.RSAAlgorithm.to_jwk(KEYS[name].public_key(), as_dict=True)
    return found | {"kid": name, "use": "sig", "alg": "RS256"} | more


class FakeIssuer:
    """By default it does everything right. A test changes what it says: `metadata`, `keys`, `claims` and `head` are
    merged over what is right, and `token(claims)` replaces how it signs."""

    def __init__(self, clock: Callable[[], datetime]) -> None:
        self._clock = clock
        self.metadata: dict[str, Any] = {}
        self.claims: dict[str, Any] = {}
        self.keys: Any = [public("one")]
        self.token: Callable[[dict[str, Any]], Any] = self.signed
        self.waits = 0.0
        self.asked: list[str] = []
        self.redeems_twice = self.fails = False
        self._codes: dict[str, dict[str, str]] = {}
        app = web.Application()
        app.router.add_get("/.well-known/openid-configuration", self._discovery)
        app.router.add_get("/keys", self._keys)
        app.router.add_post("/token", self._redeem)
        self._server = TestServer(app)

    async def __aenter__(self) -> "FakeIssuer":
        await self._server.start_server()
        self.url = f"http://127.0.0.1:{self._server.port}"
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._server.close()

    def settings(self, base_url: str = "http://127.0.0.1:9", more: str = "") -> str:
        return f"""
[oidc]
issuer = "{self.url}"
client_id = "{CLIENT}"
client_secret = {{ env = "HOOK" }}
base_url = "{base_url}"
roles = {{ operator = ["kyc-operators"], "service desk" = ["kyc-desk"], viewer = ["staff"] }}
{more}
"""

    def sign_in(self, address: str) -> dict[str, str]:
        """What the browser is sent back with from this address of the authorization endpoint."""
        asked = {name: values[0] for name, values in parse_qs(address.partition("?")[2]).items()}
        assert asked["response_type"] == "code"
        assert asked["client_id"] == CLIENT
        assert asked["redirect_uri"].endswith(BACK)
        assert asked["code_challenge_method"] == "S256"
        code = f"code-{len(self._codes)}"
        self._codes[code] = asked
        return {"code": code, "state": asked["state"]}

    def right_claims(self, asked: dict[str, str]) -> dict[str, Any]:
        now = int(self._clock().timestamp())
        return {
            "iss": self.url,
            "aud": CLIENT,
            "sub": "7",
            "iat": now,
            "exp": now + 300,
            "nonce": asked["nonce"],
            "preferred_username": "rita",
            "groups": ["staff", "kyc-operators"],
        }

    def signed(self, claims: dict[str, Any], *, by: str = "one", algorithm: str = "RS256", **head: Any) -> str:
        return jwt.encode(claims, KEYS[by], algorithm=algorithm, headers={"kid": by} | head)

    async def _discovery(self, _request: web.Request) -> web.Response:
        return await self._answer(
            "discovery",
            {
                "issuer": self.url,
                "authorization_endpoint": f"{self.url}/authorize",
                "token_endpoint": f"{self.url}/token",
                "jwks_uri": f"{self.url}/keys",
                "code_challenge_methods_supported": ["S256"],
            }
            | self.metadata,
        )

    async def _keys(self, _request: web.Request) -> web.Response:
        return await self._answer("keys", {"keys": self.keys})

    async def _redeem(self, request: web.Request) -> web.Response:
        form = dict(await request.post())
        if self.fails:
            return await self._answer("token", {}, 500)
        code = str(form.get("code"))
        asked = self._codes.get(code) if self.redeems_twice else self._codes.pop(code, None)
        credentials = base64.b64encode(f"{CLIENT}:webhook-key-number-one".encode()).decode()
        if request.headers.get("Authorization") != f"Basic {credentials}":
            return await self._answer("token", {"error": "invalid_client"}, 401)
        if asked is None or form.get("redirect_uri") != asked["redirect_uri"]:
            return await self._answer("token", {"error": "invalid_grant"}, 400)
        challenge = base64.urlsafe_b64encode(sha256(str(form["code_verifier"]).encode()).digest()).decode().rstrip("=")
        assert challenge == asked["code_challenge"]
        claims = {name: value for name, value in (self.right_claims(asked) | self.claims).items() if value is not None}
        return await self._answer("token", {"id_token": self.token(claims), "token_type": "Bearer"})

    async def _answer(self, what: str, answer: Any, status: int = 200) -> web.Response:
        self.asked.append(what)
        await asyncio.sleep(self.waits)
        return web.Response(status=status, body=json.dumps(answer).encode(), content_type="application/json")


def none(claims: dict[str, Any], algorithm: str = "none") -> str:
    """A token that no key has signed."""
    parts = ({"alg": algorithm, "kid": "one"}, claims)
    return ".".join(base64.urlsafe_b64encode(json.dumps(part).encode()).decode().rstrip("=") for part in parts) + "."
