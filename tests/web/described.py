"""The OpenAPI document of the web, and whether an answer is one that it describes."""

from functools import cache
from typing import Any

import yaml
from openapi_schema_validator import OAS31Validator, oas31_format_checker
from referencing import Registry, Resource
from referencing.jsonschema import DRAFT202012

from onboarding_worker.runtime.web_application import description

ROOT = "urn:described"


@cache
def document() -> dict[str, Any]:
    return yaml.safe_load(description())


@cache
def registry() -> Any:
    return Registry().with_resource(ROOT, Resource.from_contents(document(), default_specification=DRAFT202012))


def check(schema: dict[str, Any], value: Any) -> None:
    """Raises ValidationError."""
    pointed = {"$ref": f"{ROOT}{schema['$ref']}"} if "$ref" in schema else schema
    OAS31Validator(pointed, registry=registry(), format_checker=oas31_format_checker).validate(value)


def check_answer(method: str, route: str, answer: Any) -> None:
    """Raises where the document has no such answer: its status, its media type, its content."""
    described = document()["paths"][route][method]["responses"][str(answer.status)]
    if "$ref" in described:
        described = document()["components"]["responses"][described["$ref"].rpartition("/")[2]]
    if "content" not in described:
        assert not answer.body
        return
    check(described["content"][answer.headers["Content-Type"].partition(";")[0]]["schema"], answer.body)
    if answer.status in (429, 503) and route == "/events":
        assert answer.headers["Retry-After"].isdigit()
