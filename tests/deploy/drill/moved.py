"""A move from SQLite to PostgreSQL under load, with the commands that deploy/README.md prints."""

import json
import re
from pathlib import Path
from uuid import uuid4

from tests.deploy.drill.box import Box

_README = Path(__file__).parents[3] / "deploy" / "README.md"
_RECIPE = re.compile(r"^## Moving to PostgreSQL$.*?^```bash\n(.*?)^```$", re.DOTALL | re.MULTILINE)
_CLOSE = "sudo touch /etc/nginx/orderapi-closed"
_OPEN = "sudo rm /etc/nginx/orderapi-closed"


def run(box: Box) -> None:
    """Run the chapter. Afterwards the service of the machine uses PostgreSQL."""
    key = str(uuid4())
    first = box.order(key)
    box.run("systemctl start orderapi-backup.timer")
    print()
    with box.under_load("move to PostgreSQL", may_fail=True):
        closed_s = _follow_recipe(box)
    box.query_with("sudo -u postgres psql --quiet --no-align --tuples-only orderapi -c")
    box.prove("the move")
    timer = box.machine.run("systemctl is-active orderapi-backup.timer", check=False)
    box.expect("there is no daily backup any more", holds=timer.returncode == 0)
    again = box.order(key)
    box.expect(f"a retry of an old key gets {json.dumps(again)}", holds=again == first)
    print(f"  nginx was closed for {closed_s:.1f} s; {box.verify()}")
    with box.under_load("systemctl restart, on PostgreSQL"):
        box.run("systemctl restart orderapi")
        box.wait_until_serving()
    with box.under_load("backup, on PostgreSQL"):
        box.run("systemctl start orderapi-backup")
    with box.under_load("systemctl restart postgresql", may_fail=True):
        box.run("systemctl restart postgresql")
        box.wait_until_serving()
    box.prove("these operations")


def _follow_recipe(box: Box) -> float:
    """Run the commands, and return how many seconds nginx was closed."""
    found = _RECIPE.search(_README.read_text())
    assert found is not None, "the recipe is missing"
    recipe = found.group(1)
    for command in (_CLOSE, _OPEN):
        assert recipe.count(command) == 1, command
        recipe = recipe.replace(command, f"date +at:%s.%N; {command}")
    said = box.run(f"export DEBIAN_FRONTEND=noninteractive; set -e\n{recipe}")
    closed_at, opened_at = map(float, re.findall(r"^at:([\d.]+)$", said, re.MULTILINE))
    return opened_at - closed_at
