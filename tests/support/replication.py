"""A primary whose COMMIT waits for a standby, and the standby that takes its place."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from tests.support.postgres import SUPERUSER, PostgresServer, run_as_owner, server_directory
from tests.support.programs import find_or_install
from tests.support.waiting import wait_until

_STANDBY = "standby"
# The standby finds all that was written while it was paused.
_KEPT = {"wal_keep_size": "64MB"}


@dataclass
class Pair:
    """A primary and its synchronous standby."""

    primary: PostgresServer
    standby: PostgresServer

    def url(self, database: str) -> str:
        """Give the URL that names both hosts; the driver finds the primary."""
        hosts = ",".join(f"127.0.0.1:{server.port}" for server in (self.primary, self.standby))
        return f"postgresql://{SUPERUSER}@{hosts}/{database}?target_session_attrs=read-write"

    def on_standby(self, database: str) -> Callable[[str], list[tuple[Any, ...]]]:
        """Give a function that asks the standby, which may have been promoted."""
        return lambda sql: self.standby.query(sql, database=database)

    def demote_old_primary(self) -> None:
        """Start the killed primary as a standby of the promoted one, with the data of that one."""
        run_as_owner("rm", "-rf", str(self.primary.data))
        source = f"host=127.0.0.1 port={self.standby.port} user={SUPERUSER}"
        backup = find_or_install("pg_basebackup", "postgresql")
        arguments = (
            "--pgdata",
            str(self.primary.data),
            "--checkpoint=fast",
            "--write-recovery-conf",
        )
        run_as_owner(backup, "--dbname", source, *arguments)
        self.primary.start()

    def wait_until_synchronous(self) -> None:
        """Wait until a COMMIT on the primary is on the disk of the standby too."""
        state = "SELECT sync_state FROM pg_stat_replication WHERE state = 'streaming'"
        wait_until(lambda: self.primary.query(state) == [("sync",)], "a synchronous standby")

    def promote(self) -> None:
        """Make the standby a primary of its own. It acknowledges alone from then on."""
        self.standby.query("SELECT pg_promote()")
        is_primary = "SELECT NOT pg_is_in_recovery()"
        wait_until(lambda: self.standby.query(is_primary) == [(True,)], "a promoted standby")


@contextmanager
def replicated(**settings: str) -> Iterator[Pair]:
    """Run a primary with these settings and its synchronous standby until the block ends."""
    with server_directory() as of_primary, server_directory() as of_standby:
        names = {"synchronous_standby_names": _STANDBY}
        primary = PostgresServer(of_primary, **_KEPT | names | settings)
        of_the_primary = f"host=127.0.0.1 port={primary.port} user={SUPERUSER}"
        standby = PostgresServer(
            of_standby,
            primary_conninfo=f"{of_the_primary} application_name={_STANDBY}",
            # Within a second, the standby notices that a killed primary was started again.
            wal_retrieve_retry_interval="500ms",
            **_KEPT,
        )
        # Both begin with the same files, which is what pg_basebackup would give.
        primary.make()
        standby.make()
        run_as_owner("touch", str(standby.data / "standby.signal"))
        pair = Pair(primary, standby)
        try:
            primary.start()
            standby.start()
            pair.wait_until_synchronous()
            yield pair
        finally:
            for server in (primary, standby):
                if server.process is not None:
                    server.kill()
