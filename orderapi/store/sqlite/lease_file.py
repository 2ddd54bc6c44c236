"""The lock file of a lease: it shows at once that a holder has died, and it stops older releases.

The row of the lease decides who has it. This file adds what a row cannot show. The kernel drops the
locks of a process that ends, so that a lease is free as soon as its holder is dead. The relay of
release 0.1.0 knows no row: it locks the file with an exclusive `flock`.
"""

import fcntl
import os
import struct

from orderapi.store.sqlite.lock_file import LockFile

# `struct flock` of fcntl(2): the type, the origin, the first byte, the number of bytes, a process.
_FLOCK = "hhqqi0q"


class LeaseFile(LockFile):
    """See `leases.HolderEvidence`. The holder with the fence N has a lock on the byte N.

    The locks belong to the open file. Therefore two stores of one process exclude each other, too.
    """

    def exclude_older_releases(self) -> bool:
        """See `leases.HolderEvidence`. All processes that know the row share the `flock`."""
        return self.try_take(shared=True)

    def mark_alive(self, fence: int) -> bool:
        """See `leases.HolderEvidence`. If the file was replaced, the new one is locked."""
        return self.exclude_older_releases() and self._try_lock_byte(fence)

    def is_dead(self, fence: int) -> bool:
        """See `leases.HolderEvidence`."""
        try:
            answer = fcntl.fcntl(self._open(), fcntl.F_OFD_GETLK, _byte(fence))
        except OSError as error:
            raise self._store_unavailable(error) from error
        return bool(struct.unpack(_FLOCK, answer)[0] == fcntl.F_UNLCK)

    def _try_lock_byte(self, fence: int) -> bool:
        try:
            fcntl.fcntl(self._open(), fcntl.F_OFD_SETLK, _byte(fence))
        except BlockingIOError:
            return False
        except OSError as error:
            raise self._store_unavailable(error) from error
        return True


def _byte(number: int) -> bytes:
    return struct.pack(_FLOCK, fcntl.F_WRLCK, os.SEEK_SET, number, 1, 0)
