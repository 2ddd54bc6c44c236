"""The query of a request, as its schemas take it."""

from urllib.parse import parse_qsl

from flask import Request


def query_pairs(incoming: Request) -> list[tuple[str, str]]:
    """Give the parameters in their order, repeated ones too.

    Bytes that are not UTF-8 become lone surrogates, which no parameter may contain.
    """
    return parse_qsl(
        incoming.query_string.decode("latin-1"), keep_blank_values=True, errors="surrogateescape"
    )
