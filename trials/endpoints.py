"""The sandbox's endpoints without its server: they answer the worker's own requests, in process."""

import re
from collections.abc import Iterable
from datetime import datetime
from urllib.parse import parse_qsl, urlsplit

from multidict import CIMultiDict

from onboarding_sandbox.wire import Answer, Call, Endpoint
from onboarding_worker.core.model.http_messages import HttpAnswer, HttpRequest


def addressed(endpoints: Iterable[Endpoint], request: HttpRequest, now: datetime) -> tuple[Endpoint, Call] | None:
    """The endpoint that a request is for, and the request as the endpoint reads it; None: there is none."""
    url = urlsplit(request.url)
    for endpoint in endpoints:
        # The sandbox serves all providers on one host, each under its own name.
        route = endpoint.route.removeprefix(f"/{endpoint.route.split('/')[1]}")
        path = re.fullmatch(re.sub(r"\{(\w+)\}", r"(?P<\1>[^/]+)", route), url.path)
        if path is not None and request.method == endpoint.method:
            query = dict(parse_qsl(url.query, keep_blank_values=True))
            headers = CIMultiDict(request.headers)
            return endpoint, Call(now, request.url, headers, path.groupdict(), query, request.body or b"")
    return None


def as_http(answer: Answer) -> HttpAnswer:
    headers = {name.lower(): value for name, value in answer.headers.items()}
    return HttpAnswer(answer.status, {"content-type": answer.content_type, **headers}, answer.encoded())
