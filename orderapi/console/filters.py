"""The filters of a list in its URL, and which page of the list they name."""

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Generic, TypeVar
from urllib.parse import urlencode

from orderapi import uuid7
from orderapi.records import Event, Order, OrderRange

if TYPE_CHECKING:
    from werkzeug.datastructures import MultiDict

R = TypeVar("R", Order, Event)

PAGE_ROWS = 50
# No index has the client of an order. A page of one client is therefore searched for among this
# many orders, and the reader decides whether to continue with older ones.
WINDOW_ORDERS = 5_000


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

    def range(self) -> OrderRange:
        """Return the orders that are read for this page: one more than it shows, or a window."""
        since, until = _milliseconds(self.since), _milliseconds(self.until)
        ends = [uuid7.first_of(until)] if until is not None else []
        ends += [self.before] if self.before else []
        return OrderRange(
            self.customer or None,
            None if since is None else uuid7.first_of(since),
            min(ends, default=None),
            WINDOW_ORDERS if self.client else PAGE_ROWS + 1,
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

    `is_partial` tells that the page is not full because only WINDOW_ORDERS orders were searched.
    """

    rows: list[R]
    next_query: str | None
    is_partial: bool


def page_of(found: list[R], filters: Filters) -> Page[R]:
    """Make a page of the rows that were found in the range of its filters."""
    of_client = [row for row in found if not filters.client or row.client_id == filters.client]
    rows = of_client[:PAGE_ROWS]
    if len(of_client) > PAGE_ROWS:
        return Page(rows, filters.query(before=rows[-1].order_id), is_partial=False)
    if filters.client and len(found) == WINDOW_ORDERS:
        return Page(rows, filters.query(before=found[-1].order_id), is_partial=True)
    return Page(rows, None, is_partial=False)


def _milliseconds(text: str) -> int | None:
    """Return the Unix time of a time as people write it; without a zone it is in UTC."""
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        return None
    ms = int((at if at.tzinfo else at.replace(tzinfo=UTC)).timestamp() * 1000)
    return ms if 0 <= ms < 2**48 else None
