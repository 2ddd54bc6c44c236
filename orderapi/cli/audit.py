"""`orderapi audit` proves on the whole database that every order was made exactly once."""

import sys
from functools import partial

import click

from orderapi.cli import inputs
from orderapi.cli.outcomes import CHECK_FAILED, reporting_failure, warn_if_not_recorded
from orderapi.cli.report import Report
from orderapi.ops.audit import audit
from orderapi.ops.backup import AUDITING
from orderapi.ops.last_runs import note_audit


@click.command("audit", short_help="Prove that every order in the database was made exactly once.")
@inputs.database_option()
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
        inputs.opened_maintenance(settings) as store,
        Report() as report,
        reporting_failure("the audit did not get to its end"),
    ):
        for finding in audit(store, partial(report.show_progress, AUDITING)):
            report.show_finding(finding)
        is_backup = store.is_backup()
    if not is_backup:
        with inputs.opened_unchecked_store(settings.database_url) as noting:
            warn_if_not_recorded("audit", note_audit(noting, report.result()))
    click.echo(report.summary())
    if report.findings:
        sys.exit(CHECK_FAILED)
