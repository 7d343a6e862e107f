"""Sends requests to the web application, signed as each provider and sender signs them.

The requests skip only the HTTP connection: the application routes, checks and stores them.
"""

import json
from collections.abc import Mapping
from datetime import datetime
from typing import cast

from aiohttp import web
from cryptography.hazmat.primitives.asymmetric import rsa

from trials.month.setting import BASE_URL, MAIL_KEY, PLAYED, WEBHOOK_KEY, WEBHOOK_SECRET
from trials.web_requests import answered
from worker.sandbox.people import webhooks_frankieone, webhooks_idenfy, webhooks_messages

HOST = BASE_URL.partition("//")[2]


class Post:
    """Hands signed requests to the application. Belongs to one loop."""

    def __init__(self, application: web.Application, jwt_key: rsa.RSAPrivateKey) -> None:
        self._application = application
        self._jwt_key = jwt_key

    async def send_provider_event(
        self, account: str, event: str, body: bytes, now: datetime, *, forged: bool = False
    ) -> int:
        """The status of the response to the provider's event."""
        if account.startswith("idenfy"):
            headers = webhooks_idenfy.headers(event, body, "another key" if forged else WEBHOOK_KEY)
            return await self._post(f"/webhooks/{account}", headers, body)
        request_id = json.loads(body)["requestId"]
        headers = {"Content-Type": "application/json"}
        if account == "frankieone-v1":
            secret = "another-secret-of-the-address" if forged else WEBHOOK_SECRET
            return await self._post(f"/webhooks/{account}/{secret}/{request_id}", headers, body)
        token = webhooks_frankieone.token(self._jwt_key, request_id, at=now)
        headers["Authorization"] = token[:-8] + "AAAAAAAA" if forged else token
        return await self._post(f"/webhooks/{account}/{request_id}", headers, body)

    async def send_mail_event(self, body: bytes, now: datetime) -> int:
        return await self._post("/callbacks/email", webhooks_messages.mail_headers(body, MAIL_KEY, at=now), body)

    async def send_twilio_event(self, fields: Mapping[str, str]) -> int:
        path = "/callbacks/sms"
        headers = webhooks_messages.text_headers(BASE_URL + path, fields, PLAYED.twilio_token)
        return await self._post(path, headers, webhooks_messages.form(fields))

    async def visit(
        self, method: str, path: str, headers: Mapping[str, str], body: bytes, *, remote: str
    ) -> web.Response:
        """The answer to a browser or a scanner at `remote`."""
        given = {**headers, "Host": HOST}
        return cast(web.Response, await answered(self._application, method, path, given, body, remote))

    async def _post(self, path: str, headers: Mapping[str, str], body: bytes) -> int:
        return (await answered(self._application, "POST", path, {**headers, "Host": HOST}, body)).status
