"""Health in HTTP: the answers of `/healthz` and `/readyz`."""

from marshmallow import RAISE, Schema, fields, validate


class HealthSchema(Schema):
    """The answer of `GET /healthz`."""

    class Meta:
        """There are no other members."""

        unknown = RAISE

    status = fields.String(required=True, validate=validate.Equal("ok"))


class ReadinessSchema(Schema):
    """The answer of `GET /readyz` while the service is ready."""

    class Meta:
        """There are no other members."""

        unknown = RAISE

    status = fields.String(required=True, validate=validate.Equal("ready"))
