"""Describes an answer in the OpenAPI document: its headers, media types, schemas and examples."""

from collections import defaultdict
from collections.abc import Iterable
from typing import Any

from marshmallow import Schema

from orderapi.web.openapi.headers import IN_EVERY_ANSWER, OF_PROBLEM
from orderapi.web.openapi.operations import JSON, Success
from orderapi.web.problems import BY_SLUG, MEDIA_TYPE

Node = dict[str, Any]


def describe_success(success: Success, schema: Schema | None) -> Node:
    """Return the Response Object of a successful answer.

    `schema` is the schema of its JSON body, or None if there is no schema for it.
    """
    node: Node = {
        "description": success.description,
        "headers": {name: name for name in (*success.headers, *IN_EVERY_ANSWER)},
    }
    if success.examples:
        node["content"] = {
            media_type: _media_type(media_type, schema, example)
            for media_type, example in success.examples.items()
        }
    if success.links:
        node["links"] = {name: name for name in success.links}
    return node


def describe_problems(slugs: Iterable[str]) -> dict[int, object]:
    """Return the answers with these problems, by their status.

    If only one of the problems has a status, the value is the name of a shared answer.
    """
    by_status: defaultdict[int, list[str]] = defaultdict(list)
    for slug in slugs:
        by_status[BY_SLUG[slug].status].append(slug)
    return {
        status: of_status[0] if len(of_status) == 1 else describe_problem(*of_status)
        for status, of_status in by_status.items()
    }


def describe_problem(*slugs: str) -> Node:
    """Return the Response Object for these problems, which must all have the same status."""
    headers = dict.fromkeys(name for slug in slugs for name in OF_PROBLEM.get(slug, ()))
    types = [f"/problems/{slug}" for slug in slugs]
    return {
        "description": "\n\n".join(f"`{slug}`: {BY_SLUG[slug].meaning}" for slug in slugs),
        "headers": {name: name for name in (*headers, *IN_EVERY_ANSWER)},
        "content": {
            MEDIA_TYPE: {
                "schema": {
                    "allOf": [
                        {"$ref": "#/components/schemas/Problem"},
                        {"properties": {"type": {"enum": types}}},
                    ]
                },
                "examples": {slug: slug for slug in slugs},
            }
        },
    }


def _media_type(media_type: str, schema: Schema | None, example: object) -> Node:
    described: Node = {"schema": schema or {"type": "object" if media_type == JSON else "string"}}
    return described if example is None else described | {"example": example}
