"""`orderapi restore` replaces the database with a backup."""

import sys
from pathlib import Path

import click

from orderapi.cli import inputs
from orderapi.cli.outcomes import CHECK_FAILED, reporting_failure
from orderapi.cli.report import Report, describe_restored
from orderapi.ops.restore import restore


@click.command("restore")
@click.argument("file", type=click.Path(path_type=Path))
@click.option(
    "--force", is_flag=True, help="Replace an existing database. It is kept under another name."
)
@inputs.database_option("Replace this database instead of ORDERAPI_DATABASE_URL.")
def restore_command(file: Path, database: str | None, *, force: bool) -> None:
    """Replace the database with the backup FILE. No process may have the database open.

    The database returns to the moment of the backup. Later orders, keys and events are gone, and a
    late retry of such a key orders again. FILE is copied, the copy is migrated to the schema of
    this release, and it is audited. Only then does it replace the database, which is kept under
    another name, or on PostgreSQL in another schema.

    FILE must be a backup of the same engine: `orderapi copy` is the way between engines. For a
    recovery to any other moment than that of a backup, use the WAL archive of PostgreSQL.

    \b
    Examples:
      orderapi restore orders-1.db
      orderapi restore --force "/var/backups/orders-2026-11-22.db"
    """
    settings = inputs.check_settings(database)
    with (
        inputs.opened_maintenance(settings, must_be_readable=False) as maintenance,
        Report() as report,
        reporting_failure("nothing was restored"),
    ):
        restored = restore(
            maintenance,
            file,
            force=force,
            on_progress=report.show_progress,
            on_finding=report.show_finding,
        )
    click.echo(report.summary())
    if restored is None:
        click.echo("nothing was restored, and the database is as it was")
        sys.exit(CHECK_FAILED)
    for line in describe_restored(restored):
        click.echo(line)
