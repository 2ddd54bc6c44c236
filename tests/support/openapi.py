"""The published OpenAPI document, and whether an answer of the service is one that it describes."""

import json
from functools import cache
from typing import Any

from flask import Flask
from openapi_schema_validator import OAS31Validator
from referencing import Registry
from referencing.jsonschema import DRAFT202012

from orderapi.web.openapi.document import Features, operations_of, write_document

Node = dict[str, Any]

_URI = "urn:document"


class Document:
    """The document of an application in which every feature is on."""

    def __init__(self, app: Flask) -> None:
        rules = list(app.url_map.iter_rules())
        features = Features(requires_token=True, fault_injection=True)
        self.tree: Node = json.loads(write_document(rules, features))
        self._registry: Registry[Any] = Registry().with_resource(
            _URI, DRAFT202012.create_resource(self.tree)
        )
        self._operations = {
            (endpoint, method): self.tree["paths"][path][method]
            for endpoint, method, path in operations_of(rules)
        }

    def follow(self, node: Node) -> Node:
        """Give a node, or the node to which it refers."""
        while "$ref" in node:
            target: Node = self.tree
            for part in node["$ref"].removeprefix("#/").split("/"):
                target = target[part]
            node = target
        return node

    def findings(self, schema: Node, instance: object) -> list[str]:
        """Say where an instance breaks a schema of the document."""
        # A reference of a part of the document is resolved in the whole document.
        placed = json.loads(json.dumps(schema).replace('"#/', f'"{_URI}#/'))
        validator = OAS31Validator(placed, registry=self._registry)
        return [f"{error.json_path}: {error.message}" for error in validator.iter_errors(instance)]

    def check_answer(
        self, endpoint: str, method: str, status: int, headers: dict[str, str], body: bytes
    ) -> None:
        """Assert that an operation may give this answer.

        The names of `headers` are in lower case.
        """
        operation = self._operations[endpoint, "get" if method == "HEAD" else method.lower()]
        what = f"{method} {endpoint} {status}"
        assert str(status) in operation["responses"], what
        answer = self.follow(operation["responses"][str(status)])
        for name, header in answer["headers"].items():
            described = self.follow(header)
            value: Any = headers.get(name.lower())
            assert value is not None or not described.get("required"), f"{what}: {name}"
            if value is not None:
                is_number = described["schema"].get("type") == "integer"
                found = self.findings(described["schema"], int(value) if is_number else value)
                assert found == [], f"{what}: {name}"
        if method == "HEAD" or status == 304:
            return
        media_type = headers["content-type"].partition(";")[0]
        assert media_type in answer["content"], f"{what}: {media_type}"
        if media_type.endswith("json"):
            found = self.findings(answer["content"][media_type]["schema"], json.loads(body))
            assert found == [], what


@cache
def document_of(app: Flask) -> Document:
    """Give the document of an application. It is made once."""
    return Document(app)
