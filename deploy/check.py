"""Whether this release can serve with the settings of its environment, on the database there is.

`python -m deploy.check` from a release's directory, as the service's user; it changes nothing. One
line and exit code 1 if it cannot.
"""

import os
import sys

from orderapi.errors import StartRefused, StoreUnavailable
from orderapi.settings import read_settings
from orderapi.store.open import open_store


def main():
    """Look at both."""
    try:
        store = open_store(read_settings(os.environ).database_url, read_only=True)
        store.read(lambda _: None)
    except StartRefused as error:
        sys.exit(str(error))
    except StoreUnavailable as error:
        sys.exit(error.reason)


if __name__ == "__main__":
    main()
