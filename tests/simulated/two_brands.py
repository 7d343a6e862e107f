"""A world of two brands with the providers' own adapters: rows of the second brand that say something to the provider,
and what has left for their customers."""

import io
import itertools
import json
from collections.abc import Callable
from typing import Any

from onboarding_worker.core.model.http_messages import HttpAnswer
from onboarding_worker.lists.importing.judging import options_of
from onboarding_worker.lists.importing.list_import import import_list
from onboarding_worker.wiring.container import build_providers
from tests.simulated.world import World

BRANDS = '[brand]\nname = "Example"\n[brand.nova]\nname = "Nova"\n'
ROUTE = '[[routes]]\nwhen = { tags = "nova" }\nbrand = "nova"\naccounts = ["kyc"]\n'
GIVEN = '["idenfy-kyc.checkAml"]'
# What a row says beside its customer, and what of it the provider gets in each request.
SAYS = {"brand": "nova", "tags": "vip;nova", "external_ref": "X-1", "idenfy-kyc.checkAml": False}
ASKED = {"checkAml": False, "externalRef": "X-1"}
_serials = itertools.count(1)


def opened(request: Any) -> HttpAnswer:
    """The provider's answer that opens a session; to a look-up, that it has none."""
    if not request.body:
        return HttpAnswer(200, {}, b'{"count": 0, "next": null, "previous": null, "results": []}')
    serial, sent = next(_serials), json.loads(request.body)
    body = {"authToken": f"token-{serial}", "scanRef": f"ref-{serial}", "clientId": sent["clientId"]}
    return HttpAnswer(201, {}, json.dumps(body | {"tokenType": sent["tokenType"]}).encode())


def two_brands(
    make: Callable[..., World],
    follow_up: str = "most = 2",
    *,
    outcomes: Any = opened,
    per_row: str = '["checkAml"]',
    rights: str = f"lists = {GIVEN}",
    brands: str = BRANDS,
    routes: str = ROUTE,
    **how: Any,
) -> World:
    given = {"more": f"per_row = {per_row}", "more_of_au": routes}
    world = make(outcomes, follow_up=f"{follow_up}\n[rights]\n{rights}\n{brands}", **given | how)
    world.parts.providers = build_providers(world.parts.settings)
    return world


def bring_in(world: World, *names: str, origin: str = "lists", default: str = "", **values: Any) -> int:
    """Import rows of the second brand; returns their batch."""
    rows = [
        {"customer_id": name, "email": f"{name.lower()}@example.org", "country": "LT", **SAYS, **values}
        for name in names
    ]
    content = io.BytesIO("".join(json.dumps(row) + "\n" for row in rows).encode())
    intake = world.parts.intake.of(origin, account=default)
    options = options_of(intake, defaults={"account": default} if default else {})
    done = import_list(intake, world.parts.batches, content, options, name=f"list-{next(_serials)}.jsonl")
    assert done.batch is not None
    return done.batch.id


def asked(world: World) -> list[dict[str, Any]]:
    """What the provider got of the row, request after request."""
    bodies = (json.loads(one.body) for one in world.http.requests if one.body)
    return [{name: body[name] for name in (*ASKED, "clientId") if name in body} for body in bodies]


def brands(world: World, channel: str = "email") -> list[str]:
    """In whose name each message left, in order."""
    return [one.brand for one in world.senders[channel].messages]
