"""Who sends a request: decided after its path and method, and before its body is read."""

from functools import partial

from flask import Flask, g

from orderapi.auth import ANYBODY, READ, WRITE, Caller, Tokens
from orderapi.errors import Unauthorized
from orderapi.web import this_request
from orderapi.web.lean import current_request

# The blueprints that answer without a token. Every other path needs one.
OPEN_BLUEPRINTS = frozenset({"health", "metrics", "problems"})

_READING_METHODS = frozenset({"GET", "HEAD"})
_SCHEME = "bearer"


def register(app: Flask, tokens: Tokens | None) -> None:
    """Let in who has a token for it; without `tokens`, let everybody in as the public client."""
    app.before_request(partial(_let_in, tokens))


def caller() -> Caller:
    """Give the caller of the current request."""
    found: Caller = g.caller
    return found


def refuse_if_ended() -> None:
    """Check the token once more, for a request that has waited for long since it was let in.

    Raises Unauthorized when the token has expired or was revoked meanwhile.
    """
    if g.token is not None:
        tokens, token = g.token
        tokens.refuse_if_ended(token)


def _let_in(tokens: Tokens | None) -> None:
    incoming = current_request()
    g.caller, g.token = ANYBODY, None
    if tokens is None:
        return
    # A path or a method that does not exist is answered as such by Flask, after this.
    if incoming.routing_exception is not None or incoming.blueprint in OPEN_BLUEPRINTS:
        return
    token = _sent_token(incoming.environ.get("HTTP_AUTHORIZATION"))
    g.caller, g.token = tokens.find_caller(token), (tokens, token)
    this_request.note(client=g.caller.client_id, token_id=g.caller.token_id)
    g.caller.require(READ if incoming.method in _READING_METHODS else WRITE)


def _sent_token(header: str | None) -> str:
    """Give the token in an `Authorization` header (RFC 6750 section 2.1).

    Raises Unauthorized when there is none.
    """
    if header is None:
        raise Unauthorized(is_token_sent=False)
    scheme, _, token = header.partition(" ")
    if scheme.lower() != _SCHEME:
        raise Unauthorized(is_token_sent=False)
    return token.strip(" ")
