"""The customers' side of the web application: requests as they come in, signed as each sender signs them.

They reach the application after HTTP was read off the wire and before anything else: routing, checks, keeping.
"""

import asyncio
import json
from collections.abc import Mapping
from datetime import datetime
from typing import Any
from unittest.mock import Mock

from aiohttp import streams, web
from aiohttp.http import HttpVersion11, RawRequestMessage
from cryptography.hazmat.primitives.asymmetric import rsa
from multidict import CIMultiDict, CIMultiDictProxy
from yarl import URL

from trials.month.setting import BASE_URL, MAIL_KEY, PLAYED, WEBHOOK_KEY, WEBHOOK_SECRET
from worker.sandbox.people import webhooks_frankieone, webhooks_idenfy, webhooks_messages

HOST = BASE_URL.partition("//")[2]


class Post:
    """Hands signed requests to the application. Belongs to one loop."""

    def __init__(self, application: web.Application, jwt_key: rsa.RSAPrivateKey) -> None:
        self._application = application
        self._jwt_key = jwt_key
        # Of the wire nothing is left to ask for: any answer does.
        self._wire: Any = Mock(peername=None, sockname=None, ssl_context=None)

    async def provider_says(self, account: str, event: str, body: bytes, now: datetime, *, forged: bool = False) -> int:
        """The status that the provider's event is answered with."""
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

    async def mail_says(self, body: bytes, now: datetime) -> int:
        return await self._post("/callbacks/email", webhooks_messages.mail_headers(body, MAIL_KEY, at=now), body)

    async def twilio_says(self, fields: Mapping[str, str]) -> int:
        path = "/callbacks/sms"
        headers = webhooks_messages.text_headers(BASE_URL + path, fields, PLAYED.twilio_token)
        return await self._post(path, headers, webhooks_messages.form(fields))

    async def _post(self, path: str, headers: Mapping[str, str], body: bytes) -> int:
        loop = asyncio.get_running_loop()
        payload = streams.StreamReader(self._wire, 2**16, loop=loop)
        payload.feed_data(body)
        payload.feed_eof()
        given = {**headers, "Content-Length": str(len(body)), "Host": HOST}
        raw = tuple((name.encode(), value.encode()) for name, value in given.items())
        message = RawRequestMessage(
            "POST", path, HttpVersion11, CIMultiDictProxy(CIMultiDict(given)), raw, False, None, False, False, URL(path)
        )
        request = web.Request(message, payload, self._wire, self._wire, self._wire, loop)
        # What aiohttp's own server calls next: routes, middlewares, the handler.
        answer = await self._application._handle(request)
        return answer.status
