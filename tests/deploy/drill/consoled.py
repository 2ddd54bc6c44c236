"""The operator's console on a machine with the service: `sudo orderapi console` in a terminal."""

import re

from tests.deploy.drill.box import Box

_SCREEN, _KEYBOARD = "/root/console.screen", "/root/console.keyboard"
_ADDRESS = "127.0.0.1:8100"
_FIND = "pgrep --euid orderapi --full 'bin/orderapi console'"
_CURL = "curl -sf --cookie /root/console.jar --cookie-jar /root/console.jar"


def run(box: Box) -> None:
    """Run the chapter: under load, get the page of an order once and the page "Now" fifty times."""
    made = box.order("what happened")["order_id"]
    print()
    with box.under_load("the console is used"):
        _open(box)
        box.expect("the console does not run as the user orderapi", holds=_is_running(box))
        listening = box.run("ss --no-header --listening --tcp --numeric sport = :8100")
        box.expect(f"it listens at {listening}", holds=listening.split()[3:4] == [_ADDRESS])
        link = re.findall(rf"http://{_ADDRESS}/enter\S+", box.run(f"cat {_SCREEN}"))[0]
        box.run(f"{_CURL} '{link}'")
        story = box.run(f"{_CURL} --location '{_ADDRESS}/search?q=what+happened'")
        is_told = made in story and "Proven: made exactly once" in story
        box.expect("the console does not tell the story of an order", holds=is_told)
        box.run(f"for _ in $(seq 50); do {_CURL} --output /dev/null {_ADDRESS}/now; done")
    again = box.machine.run(f"curl -sf '{link}'", check=False)
    box.expect("the link works twice", holds=again.returncode != 0)
    _press_ctrl_c(box)


def _open(box: Box) -> None:
    """Start the console in a terminal, as an operator does. Its screen and keyboard are files."""
    terminal = f"script --quiet --flush --command 'orderapi console' {_SCREEN}"
    box.run(f"rm -f {_SCREEN}; : > {_KEYBOARD}")
    box.run(
        f'systemd-run --quiet --unit=operator bash -c "tail -f {_KEYBOARD} | {terminal}"'
        f"; timeout 60 bash -c 'until grep --quiet enter {_SCREEN}; do sleep 0.2; done'"
    )


def _press_ctrl_c(box: Box) -> None:
    box.run(f"printf '\\003' >> {_KEYBOARD}")
    ended = "The console has ended."
    box.run(f"timeout 60 bash -c 'until grep --quiet \"{ended}\" {_SCREEN}; do sleep 0.2; done'")
    # The process may take a moment to end after its last line.
    waiting = f'timeout 60 bash -c "while {_FIND}; do sleep 0.2; done"'
    has_ended = box.machine.run(waiting, check=False).returncode == 0
    box.expect("Ctrl-C leaves the console running", holds=has_ended)
    box.machine.run("systemctl stop operator", check=False)


def _is_running(box: Box) -> bool:
    """Tell whether the user of the service runs a console."""
    return box.machine.run(_FIND, check=False).returncode == 0
