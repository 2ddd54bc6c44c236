"""The schemas of problems: the document of a failed request, and the page of a problem type."""

from marshmallow import fields, validate

from orderapi.web.schemas.closed import ClosedSchema

_KEY_ACTIONS = validate.OneOf(["reuse", "rotate", "none"])
_TYPE = validate.Regexp(r"/problems/[a-z-]+\Z")


class _ProblemMembers(ClosedSchema):
    """The members that a problem document and the explanation of its type both have."""

    type = fields.String(
        required=True,
        validate=_TYPE,
        metadata={
            "description": "Which problem this is. The address shows an explanation.",
            "format": "uri-reference",
        },
    )
    title = fields.String(
        required=True, metadata={"description": "The problem in a few words, for people."}
    )
    status = fields.Integer(
        required=True,
        strict=True,
        validate=validate.Range(400, 599),
        metadata={"description": "The HTTP status of the answer."},
    )
    retryable = fields.Boolean(
        required=True,
        truthy={True},
        falsy={False},
        metadata={"description": "Whether the same request may succeed later."},
    )
    key_action = fields.String(
        required=True,
        validate=_KEY_ACTIONS,
        metadata={
            "description": "What to do with the idempotency key: `reuse` the same key, also after "
            "correcting the request, `rotate` to a new key, or `none`."
        },
    )


class ProblemSchema(_ProblemMembers):
    """The answer to a failed request (RFC 9457). Only `validation-failed` has `errors`."""

    detail = fields.String(
        required=True, metadata={"description": "What was wrong with this request."}
    )
    request_id = fields.String(
        required=True, metadata={"description": "The `X-Request-ID` of this answer."}
    )
    errors = fields.Dict(
        fields.String(),
        fields.List(fields.String()),
        metadata={
            "description": "What is wrong with each member of the body or each parameter, by its "
            "name. What is wrong with the body as a whole is under `_schema`."
        },
    )


class ProblemTypeSchema(_ProblemMembers):
    """The answer of `GET /problems/{slug}`."""

    meaning = fields.String(required=True, metadata={"description": "What this problem means."})
    what_to_do = fields.String(
        required=True, metadata={"description": "What the developer of a client can do."}
    )
