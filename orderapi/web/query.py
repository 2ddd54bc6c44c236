"""The query of a request, as pairs of names and values."""

from urllib.parse import parse_qsl

from flask import Request


def query_pairs(incoming: Request) -> list[tuple[str, str]]:
    """Return the parameters in their order. A parameter that is given twice is returned twice.

    Bytes that are not UTF-8 become lone surrogates, which every schema refuses.
    """
    return parse_qsl(
        incoming.query_string.decode("latin-1"), keep_blank_values=True, errors="surrogateescape"
    )
