"""`restore` audits a backup and puts it in the place of a store, which no process has open."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from orderapi.errors import FileRefused
from orderapi.maintenance_records import Replaced
from orderapi.ops.backup import COPYING, OnProgress, is_sound
from orderapi.records import LastEvent
from orderapi.store.maintenance import Maintenance


@dataclass(frozen=True, slots=True)
class RestoreResult:
    """The result of a restore: the last event that the store has now, if any, and the old store."""

    last: LastEvent | None
    replaced: Replaced


def restore(
    maintenance: Maintenance,
    file: Path,
    *,
    force: bool,
    on_progress: OnProgress,
    on_finding: Callable[[str], None],
) -> RestoreResult | None:
    """Put the backup `file` in the place of the store. Returns None if its audit has findings.

    The store is locked from the beginning, so that no service can start in the meantime. The backup
    is copied beside the store, and the copy is migrated to the schema of this release and audited.
    Therefore the store that will be served is the one that was audited. With `force`, an existing
    store is replaced, and kept under another name.

    Raises FileRefused or StoreRefused if the restore is refused, and StoreUnavailable or OSError if
    it fails. In each case the store is as it was.
    """
    if not file.is_file():  # it is refused before anything is made beside the store
        raise FileRefused(f"there is no file {file.absolute()}")
    with maintenance.begin_restore(force=force) as replacement:
        replacement.copy_backup(file, partial(on_progress, COPYING))
        with replacement.open_copy() as copy:
            if not is_sound(copy, on_progress, on_finding):
                return None
            last = copy.read(lambda tx: tx.events.find_last_event())
        return RestoreResult(last, replacement.put_in_place())
