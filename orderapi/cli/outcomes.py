"""How a command ends: its exit code, and one line that says why it did not do its work."""

from collections.abc import Iterator
from contextlib import contextmanager

from orderapi.cli import inputs
from orderapi.errors import FileRefused, StoreFailure, StoreRefused, StoreUnavailable

# The exit code of a check that failed. `inputs.WrongUse` has the exit code of wrong use.
CHECK_FAILED = 1


@contextmanager
def failing(outcome: str, advice: str = "") -> Iterator[None]:
    """Print one line that says why a command was refused, or its outcome when the store failed.

    The `advice` follows the outcome, if the same command may succeed later.
    """
    try:
        yield
    except (FileRefused, StoreRefused) as error:
        raise inputs.WrongUse(str(error)) from error
    except StoreUnavailable as error:
        said = advice if error.kind is StoreFailure.TEMPORARY else ""
        raise inputs.CommandFailed(f"{outcome}{said}: {error.reason}") from error
    except OSError as error:
        place = "" if error.filename is None else f"{error.filename}: "
        raise inputs.CommandFailed(f"{outcome}{advice}: {place}{error.strerror}") from error
