"""The filters of a list of orders or events, which are in its URL, and the pages of the list."""

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
# page with such filters is searched for among this many orders. The user can then continue the
# search with older orders. Each of these orders may be at another place of the disk.
WINDOW_ORDERS = 200


@dataclass(frozen=True, slots=True)
class Filters:
    """The filters of a list. An empty text is no filter.

    `since` and `until` are times in UTC, as the user has typed them. `before` is the order_id
    after which the page begins.
    """

    customer: str = ""
    client: str = ""
    since: str = ""
    until: str = ""
    before: str = ""

    def query(self, **changes: str) -> str:
        """Return these filters, with changes, as the query of a URL."""
        values = {name: getattr(self, name) for name in self.__slots__} | changes
        return urlencode({_PARAMETERS[name]: value for name, value in values.items() if value})

    def unreadable_times(self) -> list[str]:
        """Return a sentence for each time that cannot be read."""
        return [
            f"'{text}' is not a time such as 2026-11-29T03:00, so this filter is not used."
            for text in (self.since, self.until)
            if text and _milliseconds(text) is None
        ]

    @property
    def are_searched(self) -> bool:
        """Whether no index finds the rows, so that a window of orders is searched."""
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
    """The rows of a page, and the query of the next page. After the last row, there is no query.

    If only a window of orders was searched, older orders may also match. Then `searched` is the
    number of orders in this window. Otherwise it is None.
    """

    rows: list[R]
    next_query: str | None
    searched: int | None = None


def page_of(found: list[R], filters: Filters) -> Page[R]:
    """Return the page that has the rows which were found in the range of its filters."""
    of_client = [row for row in found if not filters.client or row.client_id == filters.client]
    rows = of_client[:PAGE_ROWS]
    if len(of_client) > PAGE_ROWS:
        return Page(rows, filters.query(before=rows[-1].order_id))
    if filters.are_searched and len(found) == WINDOW_ORDERS:
        return Page(rows, filters.query(before=found[-1].order_id), searched=len(found))
    return Page(rows, None)


def _milliseconds(text: str) -> int | None:
    """Return the Unix time of a time that a person has typed. Without a zone, it is in UTC."""
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        return None
    ms = int((at if at.tzinfo else at.replace(tzinfo=UTC)).timestamp() * 1000)
    return ms if 0 <= ms < 2**48 else None
