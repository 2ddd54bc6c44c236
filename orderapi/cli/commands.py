"""The `orderapi` command: parses, calls `ops`, sets the exit code."""

import sys
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from functools import partial
from pathlib import Path

import click

from orderapi import logs
from orderapi.cli import inputs
from orderapi.cli.report import Report, describe_restored, describe_step, summarise_steps
from orderapi.errors import FileRefused, StartRefused, StoreRefused, StoreUnavailable
from orderapi.ops.audit import audit
from orderapi.ops.backup import AUDITING, backup
from orderapi.ops.restore import restore
from orderapi.ops.verify import FAILED, SKIPPED, new_trials, rows_by_hand, verify
from orderapi.relay import service

# The exit code when what was checked does not hold; `inputs.Refused` has that of wrong use.
DOES_NOT_HOLD = 1

_database = click.option(
    "--database",
    metavar="DATABASE_URL",
    help="The database, in the place of ORDERAPI_DATABASE_URL.",
)


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="orderapi")
def main() -> None:
    """Run and check an orderapi service.

    Every command exits 0 on success, 1 when what it checked does not hold, and 2 on wrong use.
    """


@main.command("verify")
@click.argument("url", envvar="ORDERAPI_URL", default="http://127.0.0.1:8000")
@click.option(
    "--database",
    metavar="DATABASE_URL",
    help="Also look at the rows in the server's database; without it the SQL for that is printed.",
)
@click.option(
    "--token-file",
    type=click.Path(path_type=Path),
    help="The file with the bearer token; without it the token comes from ORDERAPI_TOKEN, if set.",
)
def verify_command(url: str, database: str | None, token_file: Path | None) -> None:
    """Show on the live server at URL that no order is made twice.

    Runs the six verification steps under fresh keys, so it can be repeated; every run leaves two
    orders. Steps 4 and 5 are skipped where fault injection is off. URL is ORDERAPI_URL, or else
    http://127.0.0.1:8000, if left out.

    \b
    Examples:
      orderapi verify
      orderapi verify https://orders.example.com --token-file token
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
        click.echo("\nIn the server's database this should give two rows with three counts of 1:\n")
        click.echo(rows_by_hand(trials))
    click.echo(f"\n{summarise_steps(results)}")
    if any(result.verdict == FAILED for result in results):
        sys.exit(DOES_NOT_HOLD)


@main.command("audit")
@_database
def audit_command(database: str | None) -> None:
    """Prove on the whole database that every order was made exactly once.

    Lists every row that breaks an invariant. The database is opened read-only, and may be in use.

    \b
    Examples:
      orderapi audit
      orderapi audit --database sqlite:////var/lib/orderapi/orders.db
    """
    with (
        inputs.maintained(inputs.check_settings(database)) as store,
        Report() as report,
        _failing("the audit did not get to its end"),
    ):
        for finding in audit(store, partial(report.show_progress, AUDITING)):
            report.show_finding(finding)
    click.echo(report.summary())
    if report.findings:
        sys.exit(DOES_NOT_HOLD)


@main.command("backup")
@click.argument("file", type=click.Path(path_type=Path))
@_database
def backup_command(file: Path, database: str | None) -> None:
    """Copy the database, which may be in use, to FILE.

    The copy is of one moment, and is audited before it gets its name: FILE is whole and sound, or
    it is not there. FILE must be new, in a directory that is.

    \b
    Examples:
      orderapi backup orders-1.db
      orderapi backup "/var/backups/orders-$(date +%F).db"
    """
    with (
        inputs.maintained(inputs.check_settings(database)) as maintenance,
        Report() as report,
        _failing("there is no backup"),
    ):
        is_made = backup(maintenance, file, report.show_progress, report.show_finding)
    click.echo(report.summary())
    if not is_made:
        click.echo(f"there is no backup: {file} would have the same findings")
        sys.exit(DOES_NOT_HOLD)
    click.echo(f"the backup is {file} ({file.stat().st_size / 2**20:,.1f} MiB)")


@main.command("restore")
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--force", is_flag=True, help="Replace a database that is there; it is kept.")
@click.option(
    "--database",
    metavar="DATABASE_URL",
    help="The database to put FILE in the place of, instead of ORDERAPI_DATABASE_URL.",
)
def restore_command(file: Path, database: str | None, *, force: bool) -> None:
    """Put the backup FILE in the place of the database, which nobody may have open.

    It goes back to the backup's moment: later orders, keys and events are gone, and a late retry of
    such a key orders again. FILE is audited first, on a copy that has been brought to this
    release's schema. A database that is there stays beside it under another name.

    \b
    Examples:
      orderapi restore orders-1.db
      orderapi restore --force "/var/backups/orders-2026-11-22.db"
    """
    settings = inputs.check_settings(database)
    with (
        inputs.maintained(settings, must_be_readable=False) as maintenance,
        Report() as report,
        _failing("nothing was restored"),
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
        sys.exit(DOES_NOT_HOLD)
    for line in describe_restored(restored):
        click.echo(line)


@main.command("relay")
@_database
@click.option("--once", is_flag=True, help="Deliver the events that there are now, and end.")
@click.option(
    "--from",
    "start_from",
    metavar="SEQUENCE",
    type=click.IntRange(1, 2**63 - 1),
    help="Begin with this event, delivered before or not, instead of the next one. That is noted"
    " at once: a restart without --from goes on from there.",
)
def relay_command(database: str | None, once: bool, start_from: int | None) -> None:
    """Deliver events to ORDERAPI_WEBHOOK_URL, in order, at least once, until stopped.

    Each is signed with ORDERAPI_WEBHOOK_SECRET, as Standard Webhooks says, and sent until the
    receiver takes it (2xx); the next one waits for that. One relay delivers at a time: a second one
    waits for the first, with --once it exits 1.

    Exits 0 when stopped, or with --once when all is delivered; 1 when --once gives up or the
    database fails; 3 when the receiver answers 410 Gone.

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
            raise inputs.Refused(str(error)) from error
    sys.exit(code)


@contextmanager
def _failing(outcome: str) -> Iterator[None]:
    """Say in one line why a command was refused, or what became of it when the disk failed."""
    try:
        yield
    except (FileRefused, StoreRefused) as error:
        raise inputs.Refused(str(error)) from error
    except StoreUnavailable as error:
        raise click.ClickException(f"{outcome}: {error.reason}") from error
    except OSError as error:
        place = "" if error.filename is None else f"{error.filename}: "
        raise click.ClickException(f"{outcome}: {place}{error.strerror}") from error
