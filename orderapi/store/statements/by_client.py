"""The indexes by client, and how a statement uses them."""

from orderapi.records import PUBLIC_CLIENT


def of_client(client_id: str) -> str:
    """Return the condition that selects the rows of a client, whose id is the value `:client_id`.

    The indexes are partial, because PUBLIC_CLIENT has no entry in them. If no client has a token,
    all orders are of this client, and a list of them needs no index. An engine uses a partial index
    only for a statement that repeats its condition.
    """
    mine = "client_id = :client_id"
    return mine if client_id == PUBLIC_CLIENT else f"{mine} AND client_id <> '{PUBLIC_CLIENT}'"
