"""What a store keeps of its last backup, so that a monitor can see that backups are made."""

import time

from orderapi.errors import StoreUnavailable
from orderapi.store.contract import Store

# The backup is already complete. It must not wait long for a store that cannot be written.
NOTE_MAX_S = 5.0


def note_backup(store: Store, *, is_verified: bool) -> str | None:
    """Record in a store that a backup of it was made now, and whether its audit had no findings.

    Returns None, or the reason why the store could not record it. The backup is good all the same.
    """
    deadline = time.monotonic() + NOTE_MAX_S
    try:
        store.write(lambda tx: tx.backups.note_backup(is_verified=is_verified), deadline)
    except StoreUnavailable as error:
        return error.reason
    return None
