"""The schema from which all others inherit: it names every member that there may be."""

from marshmallow import RAISE, Schema


class ClosedSchema(Schema):
    """A schema that refuses unknown members, and whose JSON Schema allows no others."""

    class Meta:
        """`unknown` is set explicitly, because apispec reads it for `additionalProperties`."""

        unknown = RAISE
