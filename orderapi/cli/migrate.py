"""`orderapi migrate` makes the tables of a database, or brings them up to date."""

import click

from orderapi.cli import inputs
from orderapi.cli.outcomes import reporting_failure


@click.command("migrate")
@inputs.database_option()
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
        reporting_failure("nothing was changed"),
        inputs.opened_unchecked_store(settings.database_url) as store,
    ):
        store.prepare()
    click.echo(f"the tables of {settings.database_url} are up to date")
