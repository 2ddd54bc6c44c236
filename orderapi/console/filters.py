"""The filters of a list in its URL, and which page of the list they name."""

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Generic, TypeVar
from urllib.parse import urlencode

from orderapi import uuid7
from orderapi.records import PUBLIC_CLIENT, Event, Order, OrderRange

if TYPE_CHECKING:
    from werkzeug.datastructures import MultiDict

R = TypeVar("R", Order, Event)

PAGE_ROWS = 50
# No index has both the client and the customer of an order, and no index has the public client. A
# page with such filters is therefore searched for among this many orders, and the reader decides
# whether to continue with older ones. Each of these orders may have to be read from another place
# of the disk.
WINDOW_ORDERS = 200


@dataclass(frozen=True, slots=True)
class Filters:
    """What a list is narrowed to. An empty text narrows nothing.

    `since` and `until` are times in UTC as the reader has written them. `before` is the order_id
    after which the page begins.
    """

    customer: str = ""
    client: str = ""
    since: str = ""
    until: str = ""
    before: str = ""

    def query(self, **changes: str) -> str:
        """Write these filters, with changes, as the query of a URL."""
        values = {name: getattr(self, name) for name in self.__slots__} | changes
        return urlencode({_PARAMETERS[name]: value for name, value in values.items() if value})

    def mistakes(self) -> list[str]:
        """Say in one sentence each which times cannot be read."""
        return [
            f"'{text}' is not a time such as 2026-11-29T03:00, so it narrows nothing."
            for text in (self.since, self.until)
            if text and _milliseconds(text) is None
        ]

    @property
    def are_searched(self) -> bool:
        """Tell whether no index finds the rows, so that they are searched for in a window."""
        return bool(self.client) and (bool(self.customer) or self.client == PUBLIC_CLIENT)

    def range(self) -> OrderRange:
        """Return the orders that are read for this page: one more than it shows, or a window."""
        since, until = _milliseconds(self.since), _milliseconds(self.until)
        ends = [uuid7.first_of(until)] if until is not None else []
        ends += [self.before] if self.before else []
        return OrderRange(
            WINDOW_ORDERS if self.are_searched else PAGE_ROWS + 1,
            client_id=None if self.are_searched else self.client or None,
            customer_id=self.customer or None,
            start=None if since is None else uuid7.first_of(since),
            before=min(ends, default=None),
        )


_PARAMETERS = {
    "customer": "customer",
    "client": "client",
    "since": "from",
    "until": "to",
    "before": "before",
}


def read_filters(arguments: "MultiDict[str, str]") -> Filters:
    """Read the filters in the query of a URL."""
    return Filters(
        **{name: arguments.get(_PARAMETERS[name], "").strip() for name in Filters.__slots__}
    )


@dataclass(frozen=True, slots=True)
class Page(Generic[R]):
    """The rows of a page, and the query of the next one, or None after the last row.

    `searched` is None, or how many orders were searched for a page that is not full although older
    orders may match.
    """

    rows: list[R]
    next_query: str | None
    searched: int | None = None


def page_of(found: list[R], filters: Filters) -> Page[R]:
    """Make a page of the rows that were found in the range of its filters."""
    of_client = [row for row in found if not filters.client or row.client_id == filters.client]
    rows = of_client[:PAGE_ROWS]
    if len(of_client) > PAGE_ROWS:
        return Page(rows, filters.query(before=rows[-1].order_id))
    if filters.are_searched and len(found) == WINDOW_ORDERS:
        return Page(rows, filters.query(before=found[-1].order_id), searched=len(found))
    return Page(rows, None)


def _milliseconds(text: str) -> int | None:
    """Return the Unix time of a time as people write it; without a zone it is in UTC."""
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        return None
    ms = int((at if at.tzinfo else at.replace(tzinfo=UTC)).timestamp() * 1000)
    return ms if 0 <= ms < 2**48 else None
