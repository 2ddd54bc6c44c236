"""The indexes by client, and how a statement uses them."""

# The client of all requests that need no token has no entry in the indexes by client. Where nobody
# has a token, all orders are of this client, and a list of them needs no index. The migration that
# makes the indexes contains this name too.
UNINDEXED_CLIENT = "public"


def of_client(client_id: str) -> str:
    """Return the condition that selects the rows of a client, whose id is the value `:client_id`.

    The indexes are partial. An engine uses them only for a statement that repeats their condition.
    """
    mine = "client_id = :client_id"
    return (
        mine if client_id == UNINDEXED_CLIENT else f"{mine} AND client_id <> '{UNINDEXED_CLIENT}'"
    )
