"""The driver under gevent: a query that waits lets the other requests of its process run."""

import subprocess
import sys

from tests.support.engines import PostgresEngine
from tests.support.running import REPOSITORY

IMPORTED_TOO_EARLY = """
import psycopg
from gevent import monkey
monkey.patch_all()
from orderapi.settings import PostgresUrl
from orderapi.store.postgres.store import PostgresStore
PostgresStore(PostgresUrl("postgresql://127.0.0.1:1/orders")).prepare()
"""


def test_a_driver_that_would_stop_the_event_loop_is_refused() -> None:
    done = subprocess.run(
        [sys.executable, "-c", IMPORTED_TOO_EARLY],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=False,
    )
    assert "psycopg was imported before gevent" in done.stderr


WAIT_AND_COUNT = """
from gevent import monkey
monkey.patch_all()
import gevent, sys, time
from orderapi.settings import PostgresUrl
from orderapi.store.postgres.servers import connect
ticks = []
def tick():
    while True:
        ticks.append(1)
        gevent.sleep(0.01)
gevent.spawn(tick)
connection = connect(PostgresUrl(sys.argv[1]), "any")
connection.deadline = time.monotonic() + 30
connection.execute("SELECT pg_sleep(1)")
print(len(ticks))
"""


def test_the_event_loop_runs_while_a_greenlet_waits_for_a_query(engine: PostgresEngine) -> None:
    done = subprocess.run(
        [sys.executable, "-c", WAIT_AND_COUNT, engine.url_text],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=True,
    )
    assert int(done.stdout) > 5
