"""The files under deploy/ and compose.yaml say what the code says."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from adapters.nats.server_config import BrokerUser, answers_user, operator_user
from tests.needs import ROOT

NATS_SERVER = Path(sys.executable).with_name("nats-server")
CONFIG = ROOT / "deploy" / "nats.conf"
PASSWORDS = {f"NATS_{user}_PASSWORD": "secret" for user in ("TOWER", "ANSWERS", "OPERATOR")}


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


@pytest.mark.parametrize("user", [operator_user("local", "x"), answers_user("x")], ids=lambda user: user.name)
def test_its_users_have_the_rights_of_the_embedded_one(user: BrokerUser) -> None:
    text = CONFIG.read_text()
    block = text[text.index(f"user: {user.name}\n") :].partition("user: ")[2].partition("user: ")[0]
    publish, _, subscribe = block.partition("subscribe")
    assert set(quoted(publish)) == set(user.publish or ())
    assert set(quoted(subscribe)) == set(user.subscribe or (">",))


def quoted(text: str) -> list[str]:
    return text.split('"')[1::2]
