"""Failovers under load: `python -m tests.failover`, which `make test-failover` runs.

Three database hosts under Patroni, and two hosts of the service behind nginx, run on loopback
addresses of this machine. Clients that retry place orders meanwhile. The primary is killed, frozen
and switched over in turn. The exit code is 1 if an acknowledged order is missing or was made twice.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import psycopg
import pytest

from tests.failover import findings
from tests.failover.cluster import TTL_S, Cluster, Node, cluster_in
from tests.failover.load import CLIENTS, Load, under_load
from tests.support.nginx_hosts import Host, site_of
from tests.support.postgres import server_directory
from tests.support.programs import find_or_install
from tests.support.running import REPOSITORY, environ_with, started
from tests.support.waiting import wait_until

DATABASE = "orders"
OWNER, ROLE = "orders_owner", "orderapi"
ROLE_SQL = REPOSITORY / "deploy" / "postgres" / "role.sql"
# Load that is placed before each failover, in seconds.
STEADY_S = 2.0
# A machine with other work may take as long as this. A failover itself takes some seconds.
FAILOVER_MAX_S = 90.0
COLUMNS = "{:>3} {:8} {:>14} {:>14} {:>13}"


def main() -> None:
    """Run the drill, and print its table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--failovers", type=int, default=10, help="how many (default: 10)")
    number = parser.parse_args().failovers
    with ExitStack() as stack:
        try:
            programs = {name: find_or_install(name, package) for name, package in PACKAGES}
        except pytest.skip.Exception as reason:
            print(f"skipped: {reason}")
            sys.exit(os.environ.get("CI") == "true")
        cluster = stack.enter_context(
            cluster_in(stack.enter_context(server_directory()), find_or_install)
        )
        _make_database(cluster)
        base_url = stack.enter_context(_served(programs["nginx"], cluster.url(DATABASE, ROLE)))
        print(f"{CLIENTS} clients, ttl {TTL_S} s\n{COLUMNS.format(*HEADERS)}", flush=True)
        with under_load(base_url) as load:
            for turn in range(1, number + 1):
                _fail_over(turn, cluster, load)
        # Otherwise the audit could begin on a primary that is about to stop.
        cluster.wait_until_redundant()
        found = findings.find(cluster.url(DATABASE), base_url, load.acknowledged)
    print(f"\nacknowledged {len(load.acknowledged)}, lost {found.lost}, doubled {found.doubled}")
    print(f"orders in the database {found.orders}, calls without an answer {len(load.unanswered)}")
    if found.are_good() and not load.errors:
        print("everything was as expected")
        return
    print(f"WRONG: {found}")
    for error in load.errors:
        print(f"WRONG: {error!r}")
    sys.exit(1)


PACKAGES = (("nginx", "nginx"), ("etcd", "etcd-server"), ("patroni", "patroni"))
HEADERS = ("", "primary", "orders before", "another after", "orders again")


def _make_database(cluster: Cluster) -> None:
    """Make the roles, the database and its tables as deploy/postgres/README.md says."""
    with psycopg.connect(cluster.url("postgres"), autocommit=True) as connection:
        for role in (OWNER, ROLE):
            connection.execute(f"CREATE ROLE {role} LOGIN PASSWORD '{cluster.password}'")
        connection.execute(f"CREATE DATABASE {DATABASE} OWNER {OWNER} TEMPLATE template0")
    owner_url = cluster.url(DATABASE, OWNER)
    orderapi = str(Path(sys.executable).parent / "orderapi")
    _run(orderapi, "migrate", "--database", owner_url)
    psql = find_or_install("psql", "postgresql-client")
    _run(psql, "--quiet", "--set", "ON_ERROR_STOP=1", "--file", str(ROLE_SQL), owner_url)


def _run(*command: str) -> None:
    done = subprocess.run(command, env=environ_with(), capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{command}: {done.stdout}{done.stderr}"


@contextmanager
def _served(nginx: str, url: str) -> Iterator[str]:
    """Run two hosts of the service behind nginx. Gives the URL of nginx."""
    with ExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        hosts = []
        for number in (1, 2):
            of_host = directory / f"api{number}"
            of_host.mkdir()
            host = Host(of_host, number, DATABASE_URL=url, FAULT_INJECTION="off")
            stack.enter_context(started(host))
            hosts.append(host)
        site = stack.enter_context(site_of(nginx, hosts))
        yield f"http://127.0.0.1:{site.port}"


def _fail_over(turn: int, cluster: Cluster, load: Load) -> None:
    """Make the primary fail, wait for new acknowledgements, and start the old primary again."""
    cluster.wait_until_redundant()
    _wait_for_acknowledgements(load, time.monotonic())
    time.sleep(STEADY_S)
    old = cluster.leader()
    assert old is not None
    name, take_away, give_back = DEEDS[(turn - 1) % len(DEEDS)]
    before = len(load.acknowledged)
    at_s = time.monotonic()
    take_away(old)
    wait_until(lambda: _has_another_leader(cluster, old), "another primary", timeout_s=90)
    led_after_s = time.monotonic() - at_s
    _wait_for_acknowledgements(load, time.monotonic())
    time.sleep(STEADY_S)
    _, again_at_s = load.longest_pause(at_s)
    give_back(old)
    seconds = (led_after_s, again_at_s - at_s)
    row = (turn, name, before, *(f"{after_s:.1f} s" for after_s in seconds))
    print(COLUMNS.format(*row), flush=True)


def _has_another_leader(cluster: Cluster, old: Node) -> bool:
    return any(node.answers("/primary") for node in cluster.nodes if node is not old)


def _wait_for_acknowledgements(load: Load, since_s: float) -> None:
    wait_until(
        lambda: bool(load.errors) or any(each.at_s > since_s for each in load.acknowledged[-200:]),
        "an acknowledged order",
        timeout_s=FAILOVER_MAX_S,
    )


def _restart(node: Node) -> None:
    node.kill()
    node.start()


def _leave(_: Node) -> None:
    """Do nothing, because a node that was switched over continues as a standby by itself."""


# How a primary fails, and how it is started again. A host that hangs must never continue, because
# it would still believe that it is the primary. Its watchdog resets it.
DEEDS: tuple[tuple[str, Callable[[Node], None], Callable[[Node], None]], ...] = (
    ("killed", Node.kill, Node.start),
    ("frozen", Node.pause, _restart),
    ("switched", Node.hand_over, _leave),
)


if __name__ == "__main__":
    main()
