"""The providers' own pages, read from the folder named by PROVIDER_SPECS, so that tests do not check a misreading."""

import json
import os
import re
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml

from onboarding_sandbox import Sandbox, SandboxOptions
from onboarding_testing.accounts import NOW, PlainSecret
from onboarding_worker.core.model.sessions import SessionRequest
from onboarding_worker.http.client import Http, open_http_session
from onboarding_worker.providers.contract import HttpAnswer
from tests.providers.endpoints import Adapter

FOLDER = os.environ.get("PROVIDER_SPECS", "")
needs_pages = pytest.mark.skipif(not FOLDER, reason="PROVIDER_SPECS names no folder with the providers' pages")


def page(beginning: str) -> str:
    """The text of the page whose file name begins so. Fails where the folder does not have it."""
    found = sorted(Path(FOLDER).glob(f"{beginning}*"))
    assert len(found) == 1, f"PROVIDER_SPECS should hold one file {beginning}*, and holds {len(found)}"
    return found[0].read_text(encoding="utf-8")


def openapi(beginning: str) -> dict[str, Any]:
    """The OpenAPI document inside a page, its references resolved."""
    fenced = re.search(r"^````yaml[^\n]*\n(.*?)^````", page(beginning), re.DOTALL | re.MULTILINE)
    assert fenced, "the page holds no OpenAPI document"
    document = yaml.safe_load(fenced[1])
    return _resolved(document, document)


def _resolved(node: Any, document: dict[str, Any]) -> Any:
    if isinstance(node, list):
        return [_resolved(item, document) for item in node]
    if not isinstance(node, dict):
        return node
    if "$ref" in node:
        target: Any = document
        for part in node["$ref"].removeprefix("#/").split("/"):
            target = target[part]
        return _resolved(target, document)
    return {name: _resolved(value, document) for name, value in node.items()}


@dataclass(frozen=True)
class Printed:
    """One parameter as the narrative page prints it."""

    name: str
    type: str
    required: bool
    constraints: tuple[str, ...]


def printed_parameters(text: str) -> list[Printed]:
    found = []
    heads = list(re.finditer(r"^(\w+)\| Type: (.+?)(?:\| Required: (\w+))?$", text, re.MULTILINE))
    ends = [head.start() for head in heads[1:]] + [text.index("Overriding Default Parameters")]
    for head, end in zip(heads, ends, strict=True):
        constraints = re.search(r"Constraints:\n(.*?)(?:Default value:|\Z)", text[head.end() : end], re.DOTALL)
        bullets = re.findall(r"•\s*(.+)", constraints[1]) if constraints else []
        found.append(Printed(head[1], head[2].strip(), head[3] == "Yes", tuple(line.strip() for line in bullets)))
    return found


def printed_json(text: str, heading: str) -> dict[str, Any]:
    """The first JSON object after the last line that is `heading`."""
    start = [match.end() for match in re.finditer(rf"^{re.escape(heading)}$", text, re.MULTILINE)][-1]
    value, _ = json.JSONDecoder().raw_decode(text[text.index("{", start) :])
    assert isinstance(value, dict)
    return value


async def at_sandbox(endpoint: Adapter, asked: SessionRequest, options: Any = None, **settings: Any) -> HttpAnswer:
    """The answer of a sandbox with these options to an account with these settings."""
    family = endpoint.account().provider.partition("-")[0]
    keys = {"api_key": PlainSecret("sandbox-key")}
    keys |= {"api_secret": PlainSecret("sandbox-secret")} if family == "idenfy" else {}
    async with Sandbox(SandboxOptions(clock=lambda: NOW, **(options or {}))) as sandbox, open_http_session() as session:
        provider = endpoint.make(**{"base_url": f"{sandbox.url}/{family}", **keys, **settings})
        got = await Http(session).call(provider.build(asked), timeout=timedelta(seconds=10))
    assert isinstance(got, HttpAnswer)
    return got
