"""The comparison on PostgreSQL places real orders, and each round trip takes its time."""

from collections.abc import Iterator

import pytest

from tests.bench.load import WindowInvalid
from tests.bench.postgres.contenders import CONNECTIONS, NAMES, OURS, STATEMENTS, TRANSACTIONS
from tests.bench.postgres.measuring import CLIENTS, Setup, StoreWindow, measure
from tests.bench.postgres.servers import PREPARED, Cluster
from tests.support.postgres import postgres_server

ROUND_TRIP_S = 0.1
FAR_AWAY = Setup("far away", 1, ROUND_TRIP_S * 1000)
WINDOW_S = 1.0
# BEGIN, four INSERTs and COMMIT.
ROUND_TRIPS = {TRANSACTIONS: 6, STATEMENTS: 1, OURS: 1}
# How many orders are in flight at once.
IN_FLIGHT = {TRANSACTIONS: CONNECTIONS, STATEMENTS: CONNECTIONS, OURS: CLIENTS}


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    with postgres_server() as server:
        cluster = Cluster(server, [])
        cluster.prepare()
        yield cluster


def window_of(contender: str, cluster: Cluster) -> StoreWindow:
    return measure(FAR_AWAY, contender, cluster, 0.0, WINDOW_S)


@pytest.mark.parametrize("contender", NAMES)
def test_each_contender_needs_the_time_of_its_round_trips(contender: str, cluster: Cluster) -> None:
    window = window_of(contender, cluster)
    # The orders of the first answers may have been sent before the window began.
    answers_max = WINDOW_S / (ROUND_TRIPS[contender] * ROUND_TRIP_S) + 1
    assert 0 < window.per_s * WINDOW_S <= answers_max * IN_FLIGHT[contender]
    # Only orders of one batch share a sync.
    if contender == OURS:
        assert 1 / CLIENTS <= window.syncs_per_order < 1
    else:
        assert window.syncs_per_order >= 1


def test_a_window_whose_orders_are_not_all_stored_is_refused(cluster: Cluster) -> None:
    cluster.query(
        "CREATE FUNCTION lose() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN NULL; END $$;"
        "CREATE TRIGGER lose BEFORE INSERT ON ledger FOR EACH ROW"
        " WHEN (NEW.ledger_id % 10 = 0) EXECUTE FUNCTION lose()",
        PREPARED,
    )
    try:
        with pytest.raises(WindowInvalid, match=r"one statement per request: \d+ orders were"):
            window_of(STATEMENTS, cluster)
    finally:
        cluster.query("DROP FUNCTION lose CASCADE", PREPARED)
