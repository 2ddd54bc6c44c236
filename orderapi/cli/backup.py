"""`orderapi backup` copies the database to a file."""

import sys
from pathlib import Path

import click

from orderapi.cli import inputs
from orderapi.cli.outcomes import CHECK_FAILED, reporting_failure, warn_if_not_recorded
from orderapi.cli.report import Report
from orderapi.errors import one_line
from orderapi.ops.backup import backup
from orderapi.ops.last_runs import note_backup


@click.command("backup")
@click.argument("file", type=click.Path(path_type=Path))
@inputs.database_option()
def backup_command(file: Path, database: str | None) -> None:
    """Copy the database to FILE. A service may use the database at the same time.

    The copy shows the database at one moment. It is audited before it gets the name FILE.
    Therefore FILE is complete and sound, or it does not exist. FILE must not exist before, and its
    directory must exist.

    A backup of PostgreSQL is a SQLite file that can be restored into PostgreSQL only. For a
    recovery to any other moment, let PostgreSQL archive its WAL (point-in-time recovery).

    \b
    Examples:
      orderapi backup orders-1.db
      orderapi backup "/var/backups/orders-$(date +%F).db"
    """
    settings = inputs.check_settings(database)
    with (
        inputs.opened_maintenance(settings) as maintenance,
        Report() as report,
        reporting_failure("no backup was made"),
    ):
        is_made = backup(maintenance, file, report.show_progress, report.show_finding)
        size_bytes = file.stat().st_size if is_made else 0
    with inputs.opened_unchecked_store(settings.database_url) as store:
        reason = note_backup(store, report.took_ms(), is_verified=is_made)
    warn_if_not_recorded("backup", reason)
    click.echo(report.summary())
    if not is_made:
        click.echo(f"no backup was made: the copy of {one_line(str(file))} has these findings")
        sys.exit(CHECK_FAILED)
    click.echo(f"the backup is {one_line(str(file))} ({size_bytes / 2**20:,.1f} MiB)")
