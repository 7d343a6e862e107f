"""Asks Amazon SNS: for the certificates that sign its messages, and to confirm a subscription.

Strangers can make this process ask: they send a message that names a configured topic, and any certificate. So it asks
only the host of the topic's region, one request at a time and few in a minute, and keeps few answers. Each machine has
an allowance of its own: who uses up theirs does not keep SNS's own certificate from being fetched.
"""

import asyncio
import logging
from datetime import timedelta

from cryptography.x509 import Certificate

from worker.core.foundation.clock import monotonic
from worker.core.limits.rate_limits import Limit
from worker.core.model.http_messages import HttpAnswer, HttpRequest
from worker.features.delivery.ses.sns_messages import SnsMessage, read_certificate
from worker.http.client import Http, open_http_session
from worker.web.turns import Allowance
from worker.web.webhooks.sources import Get

log = logging.getLogger(__name__)

TIMEOUT = timedelta(seconds=10)
MOST_CERTIFICATES = 16  # SNS has one for each region, and a new one about once a year
MOST_BYTES = 16 * 1024
FOR_EACH_MACHINE, FOR_ALL = Limit.parse("5/minute"), Limit.parse("60/minute")


async def get(url: str) -> bytes | None:
    """The body of an answer with status 200; None for anything else. TLS is verified, redirects are not followed."""
    async with open_http_session() as session:
        answer = await Http(session).call(HttpRequest("GET", url, {}), timeout=TIMEOUT)
    if isinstance(answer, HttpAnswer) and answer.status == 200 and len(answer.body) <= MOST_BYTES:
        return answer.body
    why = f"HTTP {answer.status}" if isinstance(answer, HttpAnswer) else answer.detail
    log.warning("Amazon SNS did not answer a request as expected: %s", why)
    return None


class Sns:
    """Belongs to one loop."""

    def __init__(self, fetch: Get) -> None:
        self._get = fetch
        self._certificates: dict[str, Certificate] = {}  # by URL; the one that was used longest ago comes first
        self._one = asyncio.Lock()
        self._of_machine, self._of_all = Allowance(FOR_EACH_MACHINE), Allowance(FOR_ALL)

    def known(self, message: SnsMessage) -> Certificate | None:
        """The certificate, if it was fetched before."""
        return self._certificates.get(message.certificate_url)

    async def certificate(self, message: SnsMessage, peer: str) -> Certificate | None:
        """The certificate that the message names; None: it cannot be had now. `peer`: the machine that sent it."""
        url = message.certificate_url
        if url not in self._certificates:  # else it waits for no other request
            async with self._one:
                if url not in self._certificates and self._may_ask(peer):
                    await self._fetch(url)
        found = self._certificates.pop(url, None)
        if found is not None:
            self._certificates[url] = found  # now the last one
        return found

    async def _fetch(self, url: str) -> None:
        pem = await self._get(url)
        found = read_certificate(pem) if pem is not None else None
        if found is not None:
            self._certificates[url] = found
            while len(self._certificates) > MOST_CERTIFICATES:
                del self._certificates[next(iter(self._certificates))]

    async def confirm(self, message: SnsMessage, peer: str) -> bool:
        """Confirm the subscription of a message that was verified. True if SNS has confirmed it."""
        async with self._one:
            done = self._may_ask(peer) and await self._get(message.confirmation_url) is not None
        if done:
            log.info("Amazon SNS: the subscription of a configured topic is confirmed")
        return done

    def _may_ask(self, peer: str) -> bool:
        now = monotonic()
        return not self._of_machine.take(peer, now) and not self._of_all.take("", now)
