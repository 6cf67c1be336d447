"""The files under deploy/ and compose.yaml say what the code says."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from adapters.nats.server_config import (
    TOWER_ACCOUNT,
    BrokerUser,
    answers_user,
    observer_user,
    operator_user,
    tower_account,
)
from tests.needs import ROOT

NATS_SERVER = Path(sys.executable).with_name("nats-server")
CONFIG = ROOT / "deploy" / "nats.conf"
PASSWORDS = {f"NATS_{user}_PASSWORD": "secret" for user in ("TOWER", "ANSWERS", "OPERATOR", "OBSERVER")}


def test_the_broker_takes_its_configuration() -> None:
    done = subprocess.run(
        [NATS_SERVER, "-t", "-c", CONFIG],
        env={**os.environ, **PASSWORDS},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("user", [operator_user("local", "x"), observer_user("local", "x")], ids=lambda user: user.name)
def test_its_readers_have_the_rights_and_imports_of_the_embedded_one(user: BrokerUser) -> None:
    account = block(f"  {user.account} {{", "\n  }\n")
    rights, _, imports = account.partition("imports:")
    publish, _, subscribe = rights.partition("subscribe")
    assert quoted(publish) == list(user.publish or ())
    assert quoted(subscribe) == list(user.subscribe or ())
    assert re.findall(r'(service|stream): \{ account: TOWER, subject: "(.+)" \}', imports) == [
        *(("service", subject) for subject in user.services),
        *(("stream", subject) for subject in user.streams),
    ]


def test_the_towers_account_exports_what_the_embedded_one_does() -> None:
    account = block(f"  {TOWER_ACCOUNT} {{", "\n  }\n")
    rights, _, exports = account.partition("exports:")
    answers = answers_user("x")
    assert quoted(rights) == [*(answers.publish or ()), ">"]
    found = re.findall(r'\{ (service|stream): "(.+?)"(, response_type: stream)? \}', exports)
    assert [{kind: subject} | ({"response_type": "stream"} if many else {}) for kind, subject, many in found] == (
        tower_account("local", [])["exports"]
    )


def block(start: str, end: str) -> str:
    return CONFIG.read_text().partition(start)[2].partition(end)[0]


def quoted(text: str) -> list[str]:
    return text.split('"')[1::2]
