"""The CloudFormation template and its first-start script are linted. Nothing is launched."""

import re
import subprocess
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path

from tests.support.running import REPOSITORY

TEMPLATE = REPOSITORY / "deploy" / "ec2.yaml"


def test_cfn_lint_reports_nothing(tmp_path: Path) -> None:
    broken = tmp_path / "broken.yaml"
    broken.write_text(TEMPLATE.read_text().replace("VolumeType: gp3", "VolumeType: gp9"))
    cfn_lint = str(Path(sys.executable).parent / "cfn-lint")
    linted = subprocess.run(
        [cfn_lint, "--include-checks", "I", "--", str(TEMPLATE), str(broken)],
        capture_output=True,
        text=True,
    )
    # The second file shows that cfn-lint reports errors.
    assert "gp9" in linted.stdout
    assert str(TEMPLATE) not in linted.stdout
    assert linted.stderr == ""


def test_ssh_is_open_to_one_address_and_the_web_to_all() -> None:
    rules = re.findall(r"- \{ IpProtocol: tcp, (.*) \}", TEMPLATE.read_text())
    assert [rule.rpartition(", Description")[0] for rule in rules] == [
        "FromPort: 22, ToPort: 22, CidrIp: !Ref SshFrom",
        "FromPort: 80, ToPort: 80, CidrIp: 0.0.0.0/0",
        "FromPort: 443, ToPort: 443, CidrIp: 0.0.0.0/0",
    ]
    assert TEMPLATE.read_text().count("CidrIp") == 3


def test_the_first_start_is_a_sound_script(
    program: Callable[[str, str], str], tmp_path: Path
) -> None:
    (script,) = re.findall(r"Fn::Base64: !Sub \|\n((?: {10}.*\n|\n)+)", TEMPLATE.read_text())
    # CloudFormation replaces each ${Name} with a value before the machine sees the script.
    path = tmp_path / "user-data.sh"
    path.write_text(re.sub(r"\$\{[A-Za-z0-9]+\}", "value", textwrap.dedent(script)))
    checked = subprocess.run(
        [program("shellcheck", "shellcheck"), str(path)], capture_output=True, text=True
    )
    assert checked.stdout == ""
    assert script.rstrip().endswith("report SUCCESS installed")
    # The output of the installation has the first token, and everybody can read the script's log.
    (install,) = (line.strip() for line in script.splitlines() if "install.sh" in line)
    assert install.startswith("(umask 077 && ")
    assert install.endswith(" >/root/orderapi-installed)")
