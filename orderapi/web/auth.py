"""Finds out which client sends a request, after routing and before the body is read."""

from functools import partial

from flask import Flask

from orderapi.auth import READ, WRITE, Caller, Tokens
from orderapi.errors import Unauthorized
from orderapi.web import this_request

# The blueprints that answer without a token. Every other path needs one.
OPEN_BLUEPRINTS = frozenset({"health", "metrics", "openapi", "problems"})

_READING_METHODS = frozenset({"GET", "HEAD"})
_SCHEME = "bearer"


def register(app: Flask, tokens: Tokens | None) -> None:
    """Require a token for each request. If `tokens` is None, every caller is the public client."""
    if tokens is not None:
        app.before_request(partial(_authenticate, tokens))


def caller() -> Caller:
    """Return the caller of the current request."""
    return this_request.current().caller


def refuse_if_ended() -> None:
    """Check the token again, after a request has waited. Its token was checked before the wait.

    Raises Unauthorized if the token has expired or was revoked in the meantime.
    """
    token = this_request.current().token
    if token is not None:
        tokens, text = token
        tokens.refuse_if_ended(text)


def _authenticate(tokens: Tokens) -> None:
    this = this_request.current()
    # If the path or the method does not exist, the dispatch refuses the request after this.
    if this.rule is None or this.rule.endpoint.partition(".")[0] in OPEN_BLUEPRINTS:
        return
    text = _sent_token(this.environ.get("HTTP_AUTHORIZATION"))
    this.caller, this.token = tokens.find_caller(text), (tokens, text)
    this_request.note(client=this.caller.client_id, token_id=this.caller.token_id)
    this.caller.require(READ if this.environ["REQUEST_METHOD"] in _READING_METHODS else WRITE)


def _sent_token(header: str | None) -> str:
    """Return the token in an `Authorization` header (RFC 6750 section 2.1).

    Raises Unauthorized if there is no header, or if its scheme is not Bearer.
    """
    if header is None:
        raise Unauthorized(is_token_sent=False)
    scheme, _, token = header.partition(" ")
    if scheme.lower() != _SCHEME:
        raise Unauthorized(is_token_sent=False)
    return token.strip(" ")
