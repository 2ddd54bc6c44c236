"""The schema from which all others inherit. It refuses unknown members."""

from marshmallow import RAISE, Schema


class ClosedSchema(Schema):
    """A schema that refuses unknown members. Its JSON Schema has `additionalProperties: false`."""

    class Meta:
        """`unknown` is set explicitly, because apispec reads it for `additionalProperties`."""

        unknown = RAISE
