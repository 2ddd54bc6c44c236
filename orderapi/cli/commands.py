"""The subcommands of `orderapi`: they parse, call `ops` or `relay`, and set the exit code."""

import sys
from contextlib import ExitStack, closing
from functools import partial
from pathlib import Path
from typing import Any

import click

from orderapi import logs
from orderapi.cli import inputs, streams
from orderapi.cli.console import console_command
from orderapi.cli.copy import copy_command
from orderapi.cli.outcomes import CHECK_FAILED, failing
from orderapi.cli.report import Report, describe_restored, describe_step, summarise_steps
from orderapi.cli.tokens import token_group
from orderapi.errors import StartRefused, one_line
from orderapi.ops.audit import audit
from orderapi.ops.backup import AUDITING, backup
from orderapi.ops.last_runs import note_audit, note_backup
from orderapi.ops.restore import restore
from orderapi.ops.verify import FAILED, SKIPPED, new_trials, rows_by_hand, verify
from orderapi.relay import service

_database = click.option(
    "--database",
    metavar="DATABASE_URL",
    help="Use this database instead of ORDERAPI_DATABASE_URL.",
)


class _Commands(click.Group):
    def main(self, *args: Any, **kwargs: Any) -> Any:
        """See `click.Command.main`. No failure of a standard stream interrupts a command."""
        with streams.protected():
            return super().main(*args, **kwargs)


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="orderapi")
def main() -> None:
    """Run and check an orderapi service.

    Every command exits with 0 on success, with 1 if its check failed, and with 2 on wrong use.
    """


main.add_command(token_group)
main.add_command(console_command)
main.add_command(copy_command)


@main.command("verify")
@click.argument("url", envvar="ORDERAPI_URL", default="http://127.0.0.1:8000")
@click.option(
    "--database",
    metavar="DATABASE_URL",
    help="Also check the rows in the database of the server. Without this option, the SQL for this"
    " check is printed.",
)
@click.option(
    "--token-file",
    type=click.Path(path_type=Path),
    help="Read the bearer token from this file. The file - is stdin, and at a terminal the command"
    " asks for the token. Without this option, the token is read from ORDERAPI_TOKEN, if that is"
    " set.",
)
def verify_command(url: str, database: str | None, token_file: Path | None) -> None:
    """Check on the live server at URL that no order is made twice.

    The six verification steps use new keys, so the command can be repeated. Each run leaves two
    orders in the database. Steps 4 and 5 are skipped if fault injection is off. The default of URL
    is ORDERAPI_URL or, if that is not set, http://127.0.0.1:8000.

    \b
    Examples:
      orderapi verify
      orderapi verify https://orders.example.com --token-file token
      orderapi verify --token-file -
      orderapi verify --database sqlite:///orders.db
    """
    settings = inputs.check_settings(database)
    server = inputs.server_at(url, inputs.read_token(token_file))
    trials = new_trials()
    with ExitStack() as stack:
        store = stack.enter_context(inputs.opened(settings)) if database is not None else None
        results = []
        for result in verify(server, trials, store):
            click.echo(describe_step(result))
            results.append(result)
    if store is None and any(result.verdict != SKIPPED for result in results[1:]):
        click.echo(
            "\nIn the database of the server, this must return two rows with three counts of 1:\n"
        )
        click.echo(rows_by_hand(trials))
    click.echo(f"\n{summarise_steps(results)}")
    if any(result.verdict == FAILED for result in results):
        sys.exit(CHECK_FAILED)


@main.command("migrate")
@_database
def migrate_command(database: str | None) -> None:
    """Make the tables of the database, or bring them up to date.

    A service does this when it starts. The command is for a database whose tables belong to another
    role than the one under which the service runs. Run it as the owner, before the service starts.

    \b
    Examples:
      orderapi migrate
      orderapi migrate --database postgresql://owner@db.example.com/orders
    """
    settings = inputs.check_settings(database)
    with (
        failing("nothing was changed"),
        inputs.opened_unchecked(settings.database_url) as store,
    ):
        store.prepare()
    click.echo(f"the tables of {settings.database_url} are up to date")


@main.command("audit")
@_database
def audit_command(database: str | None) -> None:
    """Prove on the whole database that every order was made exactly once.

    The audit lists every row that breaks an invariant. It only reads, and a service may use
    the database at the same time. When it ends, its result is recorded in the database for the
    metrics and for the console, unless the database is a backup.

    \b
    Examples:
      orderapi audit
      orderapi audit --database sqlite:////var/lib/orderapi/orders.db
    """
    settings = inputs.check_settings(database)
    with (
        inputs.maintained(settings) as store,
        Report() as report,
        failing("the audit did not get to its end"),
    ):
        for finding in audit(store, partial(report.show_progress, AUDITING)):
            report.show_finding(finding)
        is_backup = store.is_backup()
    if not is_backup:
        with inputs.opened_unchecked(settings.database_url) as noting:
            reason = note_audit(noting, report.result())
        if reason is not None:
            click.echo(f"the metrics will not show this audit: {one_line(reason)}", err=True)
    click.echo(report.summary())
    if report.findings:
        sys.exit(CHECK_FAILED)


@main.command("backup")
@click.argument("file", type=click.Path(path_type=Path))
@_database
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
        inputs.maintained(settings) as maintenance,
        Report() as report,
        failing("no backup was made"),
    ):
        is_made = backup(maintenance, file, report.show_progress, report.show_finding)
        size_bytes = file.stat().st_size if is_made else 0
    with inputs.opened_unchecked(settings.database_url) as store:
        reason = note_backup(store, report.took_ms(), is_verified=is_made)
    if reason is not None:
        click.echo(f"the metrics will not show this backup: {one_line(reason)}", err=True)
    click.echo(report.summary())
    if not is_made:
        click.echo(f"no backup was made: the copy of {one_line(str(file))} has these findings")
        sys.exit(CHECK_FAILED)
    click.echo(f"the backup is {one_line(str(file))} ({size_bytes / 2**20:,.1f} MiB)")


@main.command("restore")
@click.argument("file", type=click.Path(path_type=Path))
@click.option(
    "--force", is_flag=True, help="Replace an existing database. It is kept under another name."
)
@click.option(
    "--database",
    metavar="DATABASE_URL",
    help="Replace this database instead of ORDERAPI_DATABASE_URL.",
)
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
        inputs.maintained(settings, must_be_readable=False) as maintenance,
        Report() as report,
        failing("nothing was restored"),
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


@main.command("relay")
@_database
@click.option("--once", is_flag=True, help="Deliver the events that exist now, and end.")
@click.option(
    "--from",
    "start_from",
    metavar="SEQUENCE",
    type=click.IntRange(1, 2**63 - 1),
    help="Start with this event, whether or not it was delivered before. The new position is"
    " recorded immediately: a restart without --from continues from there.",
)
def relay_command(database: str | None, once: bool, start_from: int | None) -> None:
    """Deliver events to ORDERAPI_WEBHOOK_URL, in order and at least once, until stopped.

    Each event is signed with ORDERAPI_WEBHOOK_SECRET, as Standard Webhooks says. It is sent until
    the receiver acknowledges it with 2xx, and the next event waits until then. Only one relay
    delivers at a time. A second one waits until the first ends; with --once, it exits with 1.

    The command exits with 0 when it is stopped, or when --once has delivered all. It exits with 1
    when --once gives up or the database fails, and with 3 when the receiver answers 410 Gone.

    \b
    Examples:
      orderapi relay
      orderapi relay --once
      orderapi relay --from 1
    """
    settings = inputs.check_settings(database)
    with inputs.opened(settings, read_only=False) as store:
        logs.configure(settings.log_level)
        try:
            with closing(service.receiver(settings)) as receiver:
                code = service.serve(store, receiver.send, once=once, start_from=start_from)
        except StartRefused as error:
            raise inputs.WrongUse(str(error)) from error
    sys.exit(code)
