"""`orderapi console` serves the operator's pages until Ctrl-C."""

import click

from orderapi import logs
from orderapi.cli import inputs
from orderapi.errors import StartRefused

PORT_DEFAULT = 8100


@click.command("console")
@inputs.database_option("Show this database, or this backup, instead of ORDERAPI_DATABASE_URL.")
@click.option(
    "--port",
    type=inputs.IntegerInRange(0, 65_535),
    default=PORT_DEFAULT,
    show_default=True,
    help="Listen on this port of 127.0.0.1. 0 takes any free port.",
)
def console_command(database: str | None, port: int) -> None:
    """Serve pages that show what happened to an order, until Ctrl-C.

    The pages are served on this machine alone, and the database is opened read-only. A service may
    use it at the same time. The command prints a link that works once, in one browser, and a new
    link as soon as that one was used.

    For a service on another machine, forward the port to yours, and open the link there:
    ssh -L 8100:127.0.0.1:8100 HOST

    \b
    Examples:
      orderapi console
      orderapi console --port 8200
      orderapi console --database sqlite:////var/backups/orders-2026-11-22.db
    """
    # Flask and the templates are loaded for this command alone. All other commands start faster.
    from orderapi.console import serving
    from orderapi.console.access import Access
    from orderapi.console.app import create_console

    settings = inputs.check_settings(database)
    with inputs.opened_store(settings, read_only=True) as store:
        logs.configure(settings.log_level)
        try:
            listener = serving.listen(port)
        except StartRefused as error:
            raise inputs.WrongUse(str(error)) from error
        address = f"http://{serving.LOOPBACK}:{listener.getsockname()[1]}"

        def announce(link: str) -> None:
            click.echo(f"This link works once: {address}{link}")

        access = Access(announce)
        app = create_console(store, access)
        click.echo(f"The console shows {settings.database_url}. Ctrl-C ends it.")
        access.announce_link()
        serving.serve(app, listener)
    click.echo("The console has ended.")
