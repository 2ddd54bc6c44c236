"""The retrying client: one order per call, however often the network fails."""

try:
    from orderapi.client.failures import (
        AnswerLost,
        DeadlineExceeded,
        KeyReused,
        NotFound,
        OrderClientError,
        Refused,
        Unauthorized,
        Unavailable,
        ValidationFailed,
    )
    from orderapi.client.feed import EventFeed
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
