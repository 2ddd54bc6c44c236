"""A client that retries. Each call makes at most one order, however often the network fails."""

try:
    from orderapi.client.events import EventFeed
    from orderapi.client.failures import (
        AnswerLost,
        DeadlineExceeded,
        Forbidden,
        KeyReused,
        NotFound,
        OrderClientError,
        Refused,
        Unauthorized,
        Unavailable,
        ValidationFailed,
    )
    from orderapi.client.orders import Order, OrderClient, new_key
except ModuleNotFoundError as error:
    if error.name not in ("httpx2", "tenacity"):
        raise
    raise ImportError(
        f"orderapi.client needs {error.name}: pip install 'orderapi[client]'"
    ) from None

__all__ = [
    "AnswerLost",
    "DeadlineExceeded",
    "EventFeed",
    "Forbidden",
    "KeyReused",
    "NotFound",
    "Order",
    "OrderClient",
    "OrderClientError",
    "Refused",
    "Unauthorized",
    "Unavailable",
    "ValidationFailed",
    "new_key",
]
