"""The schemas of the answers of `/healthz` and `/readyz`."""

from marshmallow import fields, validate

from orderapi.web.schemas.closed import ClosedSchema


class HealthSchema(ClosedSchema):
    """The answer of `GET /healthz`."""

    status = fields.String(required=True, validate=validate.Equal("ok"))


class ReadinessSchema(ClosedSchema):
    """The answer of `GET /readyz` while the service is ready."""

    status = fields.String(required=True, validate=validate.Equal("ready"))
