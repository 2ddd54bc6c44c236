"""What `install.sh` says and does about access: who may use the service of this machine.

`python -m deploy.access` runs as the user of the service, with its settings, when the service is
healthy. If the service requires tokens and has none, the command creates the first token and shows
it. If the service requires no tokens, the command says how to change that.

The token is only in this process and on its stdout. It is in no argument and in no environment,
which other processes and systemd would show. The database has only its hash.
"""

import os
import shlex
import sys
import time

from orderapi.errors import StartRefused, StoreUnavailable
from orderapi.ops.tokens import CreatedToken, create_token, list_tokens, revoke_token
from orderapi.records import PUBLIC_CLIENT
from orderapi.settings import Settings, read_settings
from orderapi.store.contract import Store
from orderapi.store.open import open_store

# The file from which systemd reads the settings of the service.
SETTINGS_FILE = "/etc/orderapi/orderapi.env"
LOCAL_URL = "http://127.0.0.1"
# Every process of the service accepts a new token within this time.
NEW_TOKEN_MAX_S = 1.0

_OPEN = (
    "Everybody who can reach the service can use it. To require tokens: create one with"
    f" `sudo orderapi token create {PUBLIC_CLIENT}`, set ORDERAPI_AUTH=required in"
    f" {SETTINGS_FILE}, and run `sudo systemctl restart orderapi`.\n"
)
_GIVEN = """
The service requires tokens. The first token belongs to the client `{client}`. It is shown only now:

    {token}

This command places an order with it. No list of processes shows the token, because printf is part
of the shell:

    printf 'Authorization: Bearer %s' {token} | curl -i {url}/orders -H @- \\
      -H 'Content-Type: application/json' -H 'Idempotency-Key: test-123' \\
      -d '{{"customer_id":"cust1","item_id":"item1","quantity":1}}'

This command verifies the service. It asks for the token:

    sudo orderapi verify --token-file -

"""


def main() -> None:
    """Say who may use the service. Exit with 1, and one line on stderr, if that fails."""
    try:
        settings = read_settings(os.environ)
        if settings.auth == "off":
            sys.stdout.write(_OPEN)
        else:
            _give_first_token(settings)
    except StartRefused as error:
        sys.exit(str(error))
    except StoreUnavailable as error:
        sys.exit(f"no token was created, because the database cannot be used: {error.reason}")


def _give_first_token(settings: Settings) -> None:
    """Create and show a token if there has never been one."""
    store = open_store(settings.database_url)
    try:
        if list_tokens(store):
            return
        created = create_token(
            store, PUBLIC_CLIENT, label="created by install.sh", scopes=(), expires=None
        )
        time.sleep(NEW_TOKEN_MAX_S)
        _show(store, created)
    finally:
        store.close()


def _show(store: Store, created: CreatedToken) -> None:
    """Print the token. If it cannot be printed, revoke it, because nobody has seen it."""
    url = shlex.quote(os.environ.get("ORDERAPI_URL", LOCAL_URL))
    try:
        sys.stdout.write(_GIVEN.format(client=PUBLIC_CLIENT, token=created.token, url=url))
        sys.stdout.flush()
    except OSError as error:
        revoke_token(store, created.token_id)
        # Otherwise Python would write the rest when it ends, and report that failure too.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(
            f"the first token was revoked, because it could not be shown: {error.strerror}."
            f" To create another one: sudo orderapi token create {PUBLIC_CLIENT}"
        )


if __name__ == "__main__":
    main()
