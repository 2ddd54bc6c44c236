"""One job of a transaction, in a savepoint: a failure of the job itself undoes this job alone."""

from dataclasses import dataclass
from typing import Any

from orderapi.errors import StoreUnavailable
from orderapi.store.jobs import NOT_BEGUN, Job
from orderapi.store.sqlite.connection import Connection, error_for_caller
from orderapi.store.statements.transaction import WriteTx


@dataclass(frozen=True, slots=True)
class Run:
    """How one job of a transaction ended."""

    result: Any = None
    error: BaseException | None = None
    has_written: bool = False


def run_in_savepoint(job: Job, connection: Connection, tx: WriteTx) -> Run:
    """Run one job of a transaction. A failure of our own undoes this job alone.

    After an error of the driver, the whole transaction may be gone. SQLITE_FULL, for example, rolls
    all of it back. A savepoint outside of a transaction would then commit alone. Therefore such an
    error is raised, and it ends the batch.
    """
    if job.is_gone:
        return Run(error=StoreUnavailable(NOT_BEGUN))
    connection.refuse_autocommit()
    connection.execute("SAVEPOINT job")
    changes = connection.total_changes
    try:
        result = job.work(tx)
    except BaseException as error:
        if isinstance(error_for_caller(error), StoreUnavailable):
            raise
        connection.refuse_autocommit()
        connection.execute("ROLLBACK TO job")
        connection.execute("RELEASE job")
        tx.numbers.forget()
        return Run(error=error)
    connection.refuse_autocommit()
    connection.execute("RELEASE job")
    return Run(result, has_written=connection.total_changes != changes)
