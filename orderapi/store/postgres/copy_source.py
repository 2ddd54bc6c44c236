"""A database of PostgreSQL from which a whole store is copied."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial

from orderapi.settings import PostgresUrl
from orderapi.store.copying import Snapshot
from orderapi.store.postgres.copy_session import (
    STATEMENT_MAX_S,
    executor_of,
    open_connection,
    refuse_served,
    transaction,
)
from orderapi.store.postgres.session import refuse_unfinished_copy
from orderapi.store.statements.copies import CopyReads

# This statement comes before every query of the transaction. It waits until every writer has ended,
# and it takes no snapshot. The first query after it takes the snapshot, which therefore shows what
# these writers have committed. Services lock a row of the first table before they write an order.
_LOCK = b"LOCK TABLE write_lock, tokens, relay_position, leases IN EXCLUSIVE MODE"


class PostgresCopySource:
    """See `copying.CopySource`.

    If the store `is_served`, others may write meanwhile: the copy shows the moment at which the
    block begins.
    """

    def __init__(self, url: PostgresUrl, *, is_served: bool = False) -> None:
        self._url = url
        self._is_served = is_served

    @contextmanager
    def snapshot(self) -> Iterator[Snapshot]:
        """See `copying.CopySource`. Raises StoreRefused if the store is an unfinished copy."""
        with open_connection(self._url) as connection:
            connection.deadline = time.monotonic() + STATEMENT_MAX_S
            refuse_unfinished_copy(connection)
            if not self._is_served:
                refuse_served(connection, self._url)
            with transaction(connection, "REPEATABLE READ"):
                if not self._is_served:
                    connection.execute(_LOCK)
                yield Snapshot(
                    CopyReads(executor_of(connection)),
                    partial(refuse_served, connection, self._url),
                )
