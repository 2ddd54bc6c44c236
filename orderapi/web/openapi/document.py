"""Makes the OpenAPI document from the routes, the schemas, the problems and the operations.

apispec turns the schemas of marshmallow into JSON Schema, and puts shared parts under `components`.
"""

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any

from apispec import APISpec
from apispec.ext.marshmallow import MarshmallowPlugin
from marshmallow import fields
from werkzeug.routing import Rule

from orderapi.documents import dump
from orderapi.web.openapi import examples, overview, webhook
from orderapi.web.openapi.answers import describe_problem, describe_problems, describe_success
from orderapi.web.openapi.headers import (
    IN_EVERY_REQUEST,
    PARAMETERS,
    RESPONSE_HEADERS,
    TOKEN_NAME,
    TOKEN_SCHEME,
)
from orderapi.web.openapi.operations import LINKS, OPERATIONS, Operation
from orderapi.web.problems import BY_SLUG
from orderapi.web.schemas.events import EventSchema
from orderapi.web.schemas.responses import FAILURE, RESPONSES

Node = dict[str, Any]

_OPENAPI = "3.1.0"
_IMPLIED_METHODS = {"HEAD", "OPTIONS"}
_PROBLEMS_OF_ALL = (
    "bad-request",
    "method-not-allowed",
    "rate-limited",
    "internal-error",
    "bad-gateway",
    "gateway-timeout",
)
_PROBLEMS_OF_TOKENS = ("unauthorized", "insufficient-scope")
# This header and this problem exist only if fault injection is on.
_FAULT_INJECTION = ("X-Debug-Fail-After-Commit", "simulated-failure")


@dataclass(frozen=True, slots=True)
class Features:
    """Which optional features the settings of this service turn on.

    The document does not describe a feature that is off.
    """

    requires_token: bool
    fault_injection: bool


def write_document(rules: Iterable[Rule], features: Features) -> str:
    """Return the OpenAPI document, as JSON, of the views to which these rules lead.

    Raises KeyError if a view is not in the table of operations.
    """
    plugin = MarshmallowPlugin()
    spec = APISpec(
        overview.TITLE,
        version("orderapi"),
        _OPENAPI,
        [plugin],
        info={
            "description": overview.DESCRIPTION,
            "license": {"name": "MIT", "identifier": "MIT"},
        },
        servers=[{"url": "/"}],
        webhooks={webhook.NAME: {"post": webhook.DELIVERY}},
    )
    assert plugin.converter is not None, "the plugin has a converter as soon as it has a document"
    plugin.converter.add_attribute_function(_as_ecma_script)  # type: ignore[no-untyped-call]  # apispec has no type for it
    _add_components(spec, features)
    paths: defaultdict[str, Node] = defaultdict(dict)
    for endpoint, method, path in operations_of(rules):
        paths[path][method] = _operation(endpoint, features)
    for path in sorted(paths):
        spec.path(path, operations=paths[path])
    for name, description in overview.TAGS.items():
        spec.tag({"name": name, "description": description})
    return dump(spec.to_dict())


def operations_of(rules: Iterable[Rule]) -> Iterator[tuple[str, str, str]]:
    """Yield the endpoint, the method and the path of each operation that the document has.

    Each path also supports HEAD and OPTIONS. The document says so once, in its description.
    """
    for rule in rules:
        path = re.sub(r"<(?:\w+:)?(\w+)>", r"{\1}", rule.rule)
        for method in sorted((rule.methods or set()) - _IMPLIED_METHODS):
            yield rule.endpoint, method.lower(), path


def _as_ecma_script(_converter: object, _field: fields.Field[Any], ret: Node) -> Node:
    r"""Return a field's pattern with the anchors of JSON Schema, instead of Python's `\Z`."""
    pattern: str = ret.get("pattern", "")
    return {"pattern": f"^{pattern[:-2]}$"} if pattern.endswith(r"\Z") else {}


def _add_components(spec: APISpec, features: Features) -> None:
    components = spec.components
    components.schema("Problem", schema=FAILURE)
    components.schema("Event", schema=EventSchema())
    for name, header in RESPONSE_HEADERS.items():
        components.header(name, header, lazy=True)
    for name, parameter in PARAMETERS.items():
        components.parameter(name, str(parameter["in"]), parameter, lazy=True)
    for name, link in LINKS.items():
        components.link(name, link, lazy=True)
    if features.requires_token:
        components.security_scheme(TOKEN_NAME, TOKEN_SCHEME)
    possible = {slug for each in OPERATIONS.values() for slug in _problems_of(each, features)}
    for slug in BY_SLUG:
        if slug in possible:
            components.example(
                slug, {"summary": BY_SLUG[slug].title, "value": examples.problem(slug)}
            )
            components.response(slug, describe_problem(slug), lazy=True)


def _operation(endpoint: str, features: Features) -> Node:
    operation = OPERATIONS[endpoint]
    node: Node = {
        "operationId": endpoint.rpartition(".")[2],
        "tags": [operation.tag],
        "summary": operation.summary,
        "description": operation.description,
        "parameters": _parameters(operation, features),
        "responses": {
            **{
                status: describe_success(success, RESPONSES.get(endpoint, {}).get(status))
                for status, success in operation.answers.items()
            },
            **describe_problems(_problems_of(operation, features)),
        },
    }
    if operation.body is not None:
        content = {"schema": operation.body, "example": operation.body_example}
        node["requestBody"] = {"required": True, "content": {"application/json": content}}
    if operation.scope and features.requires_token:
        node["security"] = [{TOKEN_NAME: [operation.scope]}]
    return node


def _parameters(operation: Operation, features: Features) -> list[object]:
    named = [
        name
        for name in (*operation.parameters, *IN_EVERY_REQUEST)
        if features.fault_injection or name not in _FAULT_INJECTION
    ]
    query = [{"in": "query", "schema": operation.query}] if operation.query else []
    return [*query, *named]


def _problems_of(operation: Operation, features: Features) -> list[str]:
    """Return the slugs of the problems that an operation may answer with."""
    needed = _PROBLEMS_OF_TOKENS if operation.scope and features.requires_token else ()
    return [
        slug
        for slug in BY_SLUG
        if slug in (*operation.problems, *_PROBLEMS_OF_ALL, *needed)
        and (features.fault_injection or slug not in _FAULT_INJECTION)
    ]
