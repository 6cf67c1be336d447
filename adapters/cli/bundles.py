"""`agenttower bundle list|show|validate|reload` and `agenttower bundle overlay add|remove|show`."""

from typing import TYPE_CHECKING, Annotated, Any, Final, Literal

import typer

from adapters.cli import complete, output
from adapters.cli.client import Row
from adapters.cli.command import Cli, Json, register
from adapters.cli.failures import Failure

if TYPE_CHECKING:
    from rich.text import Text

    from handlers.bundle_ports import PreparedBundle

Line = tuple[str, "str | Text"]
"""One of a card: a name and its value."""

DONE_TIMEOUT_S: Final = 120.0
"""Longer than git may take for a repository."""

BUNDLES: Final = "/v1/bundles"

BundleName = Annotated[
    str, typer.Argument(metavar="BUNDLE", help="Its name, path, URI or id.", autocompletion=complete.bundles)
]
Include = Annotated[str, typer.Argument(metavar="INCLUDE", help="Path or URI of the bundle to compose over it.")]


def add(_app: typer.Typer, groups: dict[str, typer.Typer]) -> None:
    group = groups["bundle"]
    register(group, "list")(list_)
    register(group, "show")(show)
    register(group, "validate")(validate)
    register(group, "reload")(reload_)
    overlay = typer.Typer(help="What you compose over a bundle without touching its files.", no_args_is_help=True)
    register(overlay, "add")(overlay_add)
    register(overlay, "remove")(overlay_remove)
    register(overlay, "show")(overlay_show)
    group.add_typer(overlay, name="overlay")


def list_(
    cli: Cli,
    state: Annotated[Literal["serving", "failed"] | None, typer.Option(help="Only bundles in this state.")] = None,
    limit: Annotated[int, typer.Option(min=1, help="Rows at most.")] = 50,
    as_json: Json = False,
) -> None:
    """List the bundles that the tower has prepared, or has tried to."""
    page = output.page(cli.queries, BUNDLES, limit=limit, state=state)
    if as_json:
        output.say_json(page)
        return
    if not page["items"]:
        output.say("No bundles. The setting `bundles` names those to prepare; a spawn prepares any other.")
        return
    now = output.now()
    rows = [
        (
            row["name"] or "-",
            output.state(row["state"]),
            row["version"] or "-",
            output.short(row["digest"]),
            output.age(row["prepared_at"], now),
            len(row["warnings"]),
            row["uri"],
        )
        for row in page["items"]
    ]
    output.table(("NAME", "STATE", "VERSION", "DIGEST", "PREPARED", "WARNINGS", "URI"), rows, wide=("URI",))
    for row in page["items"]:
        if row["problem"] is not None:
            output.note(f"{row['name'] or row['uri']}: {row['problem']['message']}")
    output.more(page)


def show(cli: Cli, bundle: BundleName, as_json: Json = False) -> None:
    """Show a bundle: what serves, what is composed over it, warnings; with --json the whole plan."""
    found = _one(cli, bundle)
    if as_json:
        output.say_json(found)
        return
    serving: Row = found["serving"] or {"plan": {}, "context": [], "files": []}
    rows: list[Line] = [
        ("state", output.state(found["state"])),
        ("version", found["version"] or "-"),
        ("digest", found["digest"] or "-"),
        ("uri", found["uri"]),
        ("prepared", f"{output.age(found['prepared_at'], output.now())}, reloads: {found['reload_count']}"),
        *_plan_rows(serving["plan"]),
        ("context", ", ".join(text["name"] for text in serving["context"])),
        ("overlay", "\n".join(found["overlay"])),
        ("warnings", "\n".join(found["warnings"])),
        ("problem", "" if found["problem"] is None else found["problem"]["message"]),
    ]
    output.card("Bundle", found["name"] or found["uri"], _filled(rows))


def validate(
    cli: Cli,
    bundle: Annotated[str, typer.Argument(metavar="BUNDLE", help="Path, URI or name of a configured bundle.")],
    lenient: Annotated[
        bool, typer.Option("--lenient", help="Go on without what is missing or goes in a circle, with warnings.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Read a bundle with all that it includes, and say what is wrong with file, line and field. Needs no tower."""
    from adapters.bundle_view import shown
    from handlers.bundle_ports import BundleProblem

    try:
        found = _files(cli).prepare_now(bundle, lenient=lenient)
    except BundleProblem as problem:
        raise Failure("\n".join(problem.faults), code=problem.code, details=problem.details) from None
    if as_json:
        head = {"name": found.name, "version": found.version, "description": found.description, "uri": found.uri}
        output.say_json({**head, "warnings": list(found.warnings), **shown(found)})
        return
    output.card(f"{found.name} {found.version} is", "valid", _filled(_valid_rows(found)))


def reload_(cli: Cli, bundle: BundleName, as_json: Json = False) -> None:
    """Prepare a bundle anew, its git repositories included; what serves goes on until that has succeeded."""
    outcome = cli.command("bundle", "reload", {"bundle": _absolute(bundle)})
    asked = outcome["result"]
    position, name, data = _done(cli, asked["bundle_id"], outcome["position"], "reload_id", asked["reload_id"])
    if name == "bundle.reload_failed":
        kept = f"what served before still does: {output.short(data['serving'])}" if data["serving"] else ""
        raise Failure(data["message"], kept, code=data["code"], details=data["details"])
    if as_json:
        output.say_json({"position": position, **asked, **data})
        return
    before, after = output.short(data["from"]), output.short(data["to"])
    output.say(f"{data['name']}: {after}, " + ("as before" if before == after else f"was {before}"))
    for warning in data["warnings"]:
        output.note(f"warning: {warning}")


def overlay_add(cli: Cli, bundle: BundleName, include: Include, as_json: Json = False) -> None:
    """Compose INCLUDE over a bundle, from now on. Refused if the bundle cannot be prepared with it."""
    _change(cli, "overlay_add", bundle, include, as_json=as_json)


def overlay_remove(cli: Cli, bundle: BundleName, include: Include, as_json: Json = False) -> None:
    """Compose INCLUDE over the bundle no more."""
    _change(cli, "overlay_remove", bundle, include, as_json=as_json)


def overlay_show(cli: Cli, bundle: BundleName, as_json: Json = False) -> None:
    """Show the overlay of a bundle: a file that you may write yourself."""
    from adapters.bundles.overlays import overlay_file

    name = bundle if cli.place.running() is None else _one(cli, bundle)["name"]
    file = overlay_file(cli.place.home, name)
    text = file.read_text() if file.is_file() else ""
    if as_json:
        output.say_json({"name": name, "file": str(file), "text": text})
    elif text:
        output.say(f"# {file}\n{text.rstrip()}")
    else:
        output.say(f"{name} has no overlay. It would stand in {file}")


def _change(cli: Cli, verb: str, bundle: str, include: str, *, as_json: bool) -> None:
    data: dict[str, object] = {"bundle": _absolute(bundle), "include": _absolute(include)}
    outcome = cli.command("bundle", verb, data)
    asked = outcome["result"]
    position, name, told = _done(cli, asked["bundle_id"], outcome["position"], "change_id", asked["change_id"])
    if name == "bundle.overlay_failed":
        raise Failure(told["message"], "the overlay is as it was", code=told["code"])
    if as_json:
        output.say_json({"position": position, **asked, "includes": told["includes"]})
        return
    output.say(f"The overlay of {told['name']} includes {', '.join(told['includes']) or 'nothing'}")


def _done(cli: Cli, bundle_id: str, position: int, key: str, request_id: str) -> tuple[int, str, Row]:
    """Position, name and data of the event that ends what was asked."""
    from adapters.cli.settling import event_name

    try:
        for at, event in cli.queries.stream({"id": bundle_id}, after=position, timeout_s=DONE_TIMEOUT_S):
            data, name = event["data"], event_name(event)
            if request_id in data.get(f"{key}s", ()):
                return at, name, data
            if data.get(key) == request_id and name in ("bundle.overlay_written", "bundle.overlay_failed"):
                return at, name, data
    except TimeoutError:
        pass
    raise Failure(
        f"the bundle is not prepared within {DONE_TIMEOUT_S:g} s",
        f"it goes on: `agenttower events query --id {bundle_id}` shows its end",
    )


def _one(cli: Cli, bundle: str) -> Row:
    from urllib.parse import quote

    return cli.queries.get(f"{BUNDLES}/{quote(_absolute(bundle), safe='')}")


def _absolute(bundle: str) -> str:
    """A path is meant from here, not from where the tower runs."""
    from adapters.bundles.uris import absolute

    return absolute(bundle)


def _files(cli: Cli) -> Any:
    """Bundles as the tower of these settings would find them."""
    from adapters.bundles.keeping import bundle_files
    from adapters.settings import SettingsError, load
    from adapters.system import SystemClock

    try:
        settings = load({"home": cli.home, "node": cli.node})
    except SettingsError as error:
        raise Failure(str(error)) from error
    return bundle_files(settings, SystemClock())


def _valid_rows(found: "PreparedBundle") -> list[Line]:
    from adapters.bundle_view import shown

    told = shown(found)
    return [
        ("digest", found.digest),
        *_plan_rows(told["plan"]),
        ("instruction", f"{len(found.instruction)} characters" if found.instruction else ""),
        ("context", "\n".join(f"{text['name']}: {text['length']} characters" for text in told["context"])),
        ("files", "\n".join(told["files"])),
        ("warnings", "\n".join(found.warnings)),
        ("took", f"{found.prepare_s * 1000:.1f} ms"),
    ]


def _plan_rows(plan: Row) -> list[Line]:
    """The names of what is in it."""
    rows: list[Line] = [
        (key, ", ".join(str(entry.get("id") or entry["module"]) for entry in plan.get(key, ())))
        for key in ("providers", "tools", "hooks")
    ]
    rows.append(("agents", ", ".join(plan.get("agents", {}))))
    rows.append(("runtime", str(plan.get("runtime", {}).get("kind", ""))))
    return rows


def _filled(rows: list[Line]) -> list[Line]:
    return [row for row in rows if row[1] != ""]
