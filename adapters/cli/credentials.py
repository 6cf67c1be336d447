"""`agenttower credentials issue|list|revoke`: broker users of containers, and of those who only read.

They are kept under the home, so that this works whether the tower runs or not; a broker that runs takes them over
without disconnecting anybody. A broker of its own gets its users from its administrator: for that one `issue` prints
what to put into its configuration.
"""

import asyncio
import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from adapters.cli import output
from adapters.cli.client import quiet_logs
from adapters.cli.command import Cli, Json, register
from adapters.cli.failures import Failure
from adapters.cli.references import container_id
from adapters.files.atomic import write_private
from domain.messages import HOST

if TYPE_CHECKING:
    from adapters.nats.credentials import CredentialFiles

OBSERVER = "observer"

Container = Annotated[str | None, typer.Option("--container", metavar="NAME|ID", help="For a peer in this container.")]
Observer = Annotated[bool, typer.Option("--observer", help="For those who read events and outcomes, and no more.")]


def add(_app: typer.Typer, groups: dict[str, typer.Typer]) -> None:
    group = groups["credentials"]
    register(group, "issue")(issue)
    register(group, "list")(list_credentials)
    register(group, "revoke")(revoke)


def issue(
    cli: Cli,
    container: Container = None,
    observer: Observer = False,
    out: Annotated[Path | None, typer.Option("--out", metavar="FILE", help="Where to write them, mode 0600.")] = None,
    address: Annotated[
        str | None, typer.Option("--address", metavar="HOST:PORT", help="Where the peer reaches the broker.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Write a credentials file. Issued again, the password is another, and connections with the old one are closed."""
    from adapters.nats import credentials, issuing, server_config
    from adapters.system import SystemClock

    peer, name = _whom(cli, container, observer)
    files, url = _files(cli)
    if url is not None:
        password = credentials.new_password()
        user = (
            server_config.observer_user(files.node, password)
            if peer is None
            else server_config.container_user(files.node, peer, password)
        )
        address = address or url.rpartition("@")[2].rpartition("//")[2]
    else:
        user = _run(issuing.issue(files, peer, name, SystemClock().now()))
        address = address or issuing.address(files)
    path = out or cli.place.home / "credentials" / f"{peer[:12] if peer else OBSERVER}.json"
    written = credentials.context(user, address, files.node)
    write_private(path, (json.dumps(written, indent=2) + "\n").encode())
    snippet = {user.account: server_config.account_of(user)} if url is not None else None
    if as_json:
        output.say_json({"file": str(path), "user": user.name, "url": written["url"], "accounts": snippet})
    else:
        _tell(path, written, snippet)


def _tell(path: Path, written: dict[str, Any], snippet: dict[str, Any] | None) -> None:
    output.say(f"credentials of {written['description']}: {path}")
    if snippet is not None:
        output.say("The broker is not the tower's own. Put this into `accounts` of its configuration, and reload it:")
        for account, body in snippet.items():
            output.say(f'"{account}": {json.dumps(body, indent=2)}')
    if not written["url"]:
        output.say("No broker runs, and its port is not fixed: issue them again while it runs, or give --address.")
    output.say("Python: nats.connect(c['connect_url'], inbox_prefix=c['inbox_prefix'].encode()), c is the file's JSON.")
    output.say("nats: copy it to ~/.config/nats/context/tower.json, then `nats --context tower …`.")


def list_credentials(cli: Cli, as_json: Json = False) -> None:
    """The broker's users outside of the tower; passwords are not shown."""
    files, url = _files(cli)
    if url is not None:
        raise Failure("the broker is not the tower's own", "its configuration lists its users")
    rows = [
        {"user": user, "name": one.name, "issued_at": one.issued_at.isoformat()}
        for user, one in sorted(files.issued().items())
    ]
    if as_json:
        output.say_json({"items": rows})
    elif not rows:
        output.say("No container has credentials; `agenttower credentials issue --container ID` issues some.")
    else:
        for row in rows:
            output.say(f"{row['user'][:12]}  {row['name']}  issued {row['issued_at']}")


def revoke(cli: Cli, container: Container = None, observer: Observer = False, as_json: Json = False) -> None:
    """Refuse credentials from now on, and close their connections."""
    from adapters.nats import issuing
    from adapters.system import SystemClock

    files, url = _files(cli)
    if url is not None:
        raise Failure("the broker is not the tower's own", "take the account out of its configuration, and reload it")
    peer, name = _whom(cli, container, observer)
    if not _run(issuing.revoke(files, peer, SystemClock().now())):
        raise Failure(f"{name} has no credentials", "`agenttower credentials list` shows who has")
    if as_json:
        output.say_json({"revoked": peer or OBSERVER})
    else:
        output.say(f"The credentials of {name} are refused from now on.")


def _whom(cli: Cli, container: str | None, observer: bool) -> tuple[str | None, str]:
    """The container's id (None for the observer) and its name."""
    if (container is None) == (not observer):
        raise typer.BadParameter("give --container or --observer", param_hint="--container")
    if container is None:
        return None, OBSERVER
    if len(container) == 64 and not container.strip("0123456789abcdef"):
        return container, container
    if cli.place.running() is None:
        raise Failure(f"the container {container} is not known while no tower runs", "give its id of 64 hex digits")
    found = container_id(cli.queries, container)
    if found == HOST:
        raise Failure(
            "this machine needs no credentials of its own", "its operator's broker URL is in the file nats.url"
        )
    return found, container


def _files(cli: Cli) -> "tuple[CredentialFiles, str | None]":
    """The files of the embedded broker, and the URL of the broker that is used in its place, if one is."""
    from adapters.nats.credentials import CredentialFiles
    from adapters.settings import SettingsError, load

    quiet_logs()
    try:
        settings = load({"home": cli.home, "node": cli.node})
    except SettingsError as error:
        raise Failure(str(error)) from error
    running = cli.place.running()
    files = CredentialFiles(settings.home / "nats", running.node if running else settings.node)
    if settings.nats_url is not None:
        return files, settings.nats_url
    return files, running.nats if running is not None and files.broker_pid() is None else None


def _run(work: Any) -> Any:
    from adapters.nats.connection import BrokerProblem
    from adapters.nats.reloading import NotInForce

    try:
        return asyncio.run(work)
    except (BrokerProblem, NotInForce) as error:
        raise Failure(str(error), "the credentials are kept, the broker's next start takes them over") from error
