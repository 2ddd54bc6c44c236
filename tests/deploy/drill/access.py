"""Who may use a machine: its first token, where that is shown, and the switch to tokens."""

import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from uuid import uuid4

from tests.deploy.drill.box import ENV_FILE, INSTALL, TOKEN_FILE, Box

OFF, REQUIRED = "off", "required"
MODES = (REQUIRED, OFF)
TOKEN = re.compile(rb"oapi_[0-9A-Za-z]{32}_[0-9A-Za-z]{6}")
_OPEN = "Everybody who can reach the service can use it. To require tokens: "


def with_settings_of_an_older_release(box: Box) -> None:
    """Put settings on a new machine that say nothing about tokens, as release 0.1.0 had them."""
    shipped = INSTALL.format("1.0").replace("install.sh", "orderapi.env")
    box.run(f"install -D -m 0640 {shipped} {ENV_FILE}; sed -i '/ORDERAPI_AUTH/d' {ENV_FILE}")


@contextmanager
def watched(box: Box) -> Iterator[None]:
    """Expect that no list of processes shows a token while the block runs."""
    has_ended = threading.Event()
    seen: set[str] = set()

    def watch() -> None:
        # The processes of the machine are processes of this machine too.
        while not has_ended.wait(0.005):
            for process in Path("/proc").glob("[0-9]*"):
                with suppress(OSError):
                    for name in ("cmdline", "environ"):
                        if TOKEN.search((process / name).read_bytes()):
                            seen.add((process / "cmdline").read_text().replace("\0", " "))

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield
    finally:
        has_ended.set()
        thread.join()
    box.expect(f"a token is in a list of processes: {seen}", holds=not seen)


def settle(box: Box, said: str, mode: str) -> None:
    """Take the first token from what the installation has said, and search for other traces."""
    shown = set(TOKEN.findall(said.encode()))
    if mode == OFF:
        # An older release did this. Before the installation, the group did not exist.
        box.run(f"chgrp orderapi {ENV_FILE}")
        box.expect("a token was created on an open machine", holds=not shown)
        box.expect("nothing says that the machine is open", holds=said.count(_OPEN) == 1)
        return
    box.expect(f"{len(shown)} tokens were shown", holds=len(shown) == 1)
    box.use(shown.pop().decode())
    # The journal has every command of the drill, so the token must not be an argument of this one.
    traces = box.run(
        "journalctl --sync; (journalctl --output=export; find /etc /opt /run /tmp /usr/local /var"
        " -xdev -type f -exec cat {} +) 2>/dev/null"
        f" | grep --text --fixed-strings --count --file={TOKEN_FILE} || true"
    )
    print(f"the first token was shown once; lines of logs and files that have it: {traces}")
    box.expect(f"{traces} lines of logs and files have the token", holds=traces == "0")


def run(box: Box) -> None:
    """Run the chapter. Afterwards the machine requires tokens if it did so before."""
    had_token = box.has_token
    print("\naccess")
    _switch(box, OFF)
    box.expect("an installation does not say: open", holds=_OPEN in box.install("1.0"))
    order_id = box.order(str(uuid4()))["order_id"]
    if not had_token:
        box.use(box.run("orderapi token create public"))
    _switch(box, REQUIRED)
    said = box.install("1.0")
    box.expect(f"a second first token: {said}", holds=not TOKEN.search(said.encode()))
    bare = box.run("curl -s -o /dev/null -w '%{http_code}' 127.0.0.1/orders")
    box.expect(f"without a token: {bare}", holds=bare == "401")
    known = box.show(order_id)
    box.expect(f"the token does not show what was there: {known}", holds="order_id" in known)
    verified = box.verify()
    print(f"  from {OFF} to {REQUIRED}: without a token {bare}, with one {verified}")
    box.wait_until_serving()
    if not had_token:
        _switch(box, OFF)
        box.use(None)


def _switch(box: Box, mode: str) -> None:
    box.run(f"sed -i '/ORDERAPI_AUTH/d' {ENV_FILE}; echo ORDERAPI_AUTH={mode} >> {ENV_FILE}")
    box.run("systemctl restart orderapi")
    box.wait_until_serving()
