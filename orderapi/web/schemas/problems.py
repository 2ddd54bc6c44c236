"""Problems in HTTP: the document of a failed request, and the explanation of a problem type."""

from marshmallow import RAISE, Schema, fields, validate

_KEY_ACTIONS = validate.OneOf(["reuse", "rotate", "none"])
_TYPE = validate.Regexp(r"/problems/[a-z-]+\Z")


class _ProblemMembers(Schema):
    """What a problem document and the explanation of its type have in common."""

    class Meta:
        """There are no other members."""

        unknown = RAISE

    type = fields.String(required=True, validate=_TYPE)
    title = fields.String(required=True)
    status = fields.Integer(required=True, strict=True, validate=validate.Range(400, 599))
    retryable = fields.Boolean(required=True, truthy={True}, falsy={False})
    key_action = fields.String(required=True, validate=_KEY_ACTIONS)


class ProblemSchema(_ProblemMembers):
    """The answer to a failed request (RFC 9457); `errors` belongs to `validation-failed`."""

    detail = fields.String(required=True)
    request_id = fields.String(required=True)
    errors = fields.Dict(fields.String(), fields.List(fields.String()))


class ProblemTypeSchema(_ProblemMembers):
    """The answer of `GET /problems/{slug}`."""

    meaning = fields.String(required=True)
    what_to_do = fields.String(required=True)
