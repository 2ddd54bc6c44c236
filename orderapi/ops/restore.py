"""`restore`: put a backup in a store's place, after an audit, while nobody has the store open."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from orderapi.ops.backup import COPYING, OnProgress, is_sound
from orderapi.records import LastEvent, Replaced
from orderapi.store.maintenance import Maintenance


@dataclass(frozen=True, slots=True)
class Restored:
    """What is in place now, up to its last event, if it has any; and what was there before."""

    last: LastEvent | None
    replaced: Replaced


def restore(
    maintenance: Maintenance,
    file: Path,
    *,
    force: bool,
    on_progress: OnProgress,
    on_finding: Callable[[str], None],
) -> Restored | None:
    """Put the backup `file` in the store's place; None if its audit had findings.

    The store is locked from the beginning, so that none can be started meanwhile. The backup is
    copied beside it, brought to this release's schema and audited there, so that what has been
    proven is what will be served. With `force` a store that is there is replaced, and kept.

    Raises FileRefused or StoreRefused if that must not be, StoreUnavailable or OSError if it fails;
    the store is as it was then.
    """
    with maintenance.restoring(force=force) as replacement:
        replacement.take(file, partial(on_progress, COPYING))
        with replacement.taken() as copy:
            if not is_sound(copy, on_progress, on_finding):
                return None
            last = copy.read(lambda tx: tx.events.find_last_event())
        return Restored(last, replacement.put_in_place())
