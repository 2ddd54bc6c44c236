"""What the failovers have left in the database: acknowledged orders that are lost or doubled."""

import subprocess
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import psycopg

from orderapi.client import OrderClient
from tests.failover.load import Acknowledged
from tests.support.proof import violations
from tests.support.running import environ_with

# This many acknowledged orders are sent again, spread over the whole run.
SENT_AGAIN = 100
_ORDERS = (
    "SELECT idempotency_key, order_id, item_id FROM orders JOIN idempotency_keys USING (order_id)"
)


@dataclass(frozen=True)
class Findings:
    """The counts that the drill prints. All but the first one must be 0."""

    orders: int
    lost: int
    doubled: int
    not_replayed: int
    violations: dict[str, int]
    audit: str

    def are_good(self) -> bool:
        """Tell whether nothing is wrong."""
        return not (self.lost or self.doubled or self.not_replayed or self.violations or self.audit)


def find(url: str, base_url: str, acknowledged: Sequence[Acknowledged]) -> Findings:
    """Compare a database with what was acknowledged, and run `orderapi audit` on it.

    `url` is the URL of the database, and `base_url` that of the service.
    """
    with psycopg.connect(url, autocommit=True) as connection:
        rows = connection.execute(_ORDERS).fetchall()
        found = violations(lambda sql: connection.execute(sql.encode()).fetchall())
    order_of_key = {key: order_id for key, order_id, _ in rows}
    return Findings(
        orders=len(rows),
        lost=sum(order_of_key.get(each.key) != each.order_id for each in acknowledged),
        # The load puts the key into the order. Two orders of one key have the same item.
        doubled=sum(number - 1 for number in Counter(item_id for _, _, item_id in rows).values()),
        not_replayed=sum(_not_replayed(base_url, acknowledged)),
        violations=found,
        audit=_audited(url),
    )


def _not_replayed(base_url: str, acknowledged: Sequence[Acknowledged]) -> Iterator[bool]:
    """Send some of the orders again. Each answer must be a replay of the first one."""
    step = max(1, len(acknowledged) // SENT_AGAIN)
    with OrderClient(base_url) as client:
        for each in acknowledged[::step]:
            order = client.create("failover", each.key, 1, each.key)
            yield not order.replayed or order.order_id != each.order_id


def _audited(url: str) -> str:
    """Run `orderapi audit`, and give what it printed if it found anything."""
    orderapi = Path(sys.executable).parent / "orderapi"
    done = subprocess.run(
        [orderapi, "audit"],
        env=environ_with(DATABASE_URL=url),
        capture_output=True,
        text=True,
        check=False,
    )
    return "" if done.returncode == 0 else f"{done.stdout}{done.stderr}"
