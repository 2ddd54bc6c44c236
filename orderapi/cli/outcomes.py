"""How a command ends: its exit code, and one line that says why it did not do its work."""

from collections.abc import Iterator
from contextlib import contextmanager

import click

from orderapi.cli import inputs
from orderapi.errors import FileRefused, StoreFailure, StoreRefused, StoreUnavailable, one_line

# The exit code of a check that failed. `inputs.WrongUse` has the exit code of wrong use.
CHECK_FAILED = 1


@contextmanager
def reporting_failure(outcome: str, advice: str = "") -> Iterator[None]:
    """Turn a failure in the `with` block into one line on stderr and an exit code.

    `outcome` says what the command has not done. It is a part of the line if the store or a file
    failed. `advice` follows it if the same command may succeed later.

    Raises WrongUse if the command was refused, and CommandFailed if the store or a file failed.
    """
    try:
        yield
    except (FileRefused, StoreRefused) as error:
        raise inputs.WrongUse(str(error)) from error
    except StoreUnavailable as error:
        advice_now = advice if error.kind is StoreFailure.TEMPORARY else ""
        raise inputs.CommandFailed(f"{outcome}{advice_now}: {error.reason}") from error
    except OSError as error:
        place = "" if error.filename is None else f"{error.filename}: "
        raise inputs.CommandFailed(f"{outcome}{advice}: {place}{error.strerror}") from error


def warn_if_not_recorded(work: str, reason: str | None) -> None:
    """Print a warning if the result of an audit or of a backup could not be recorded.

    `work` is the word `audit` or `backup`. `reason` says why the result is not in the database. If
    it is None, the result was recorded, and nothing is printed.
    """
    if reason is not None:
        click.echo(f"the metrics will not show this {work}: {one_line(reason)}", err=True)
