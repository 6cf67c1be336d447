"""`agenttower template list|show` and `agenttower profile list|show`: the running tower's, else what the files say."""

import shlex
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from adapters.cli import complete, output
from adapters.cli.client import Row
from adapters.cli.command import Cli, Json, register
from adapters.cli.failures import rejected

if TYPE_CHECKING:
    from adapters.files.launching import Catalogue

TEMPLATES: Final = "/v1/templates"
PROFILES: Final = "/v1/profiles"

TemplateName = Annotated[str, typer.Argument(metavar="TEMPLATE", autocompletion=complete.templates)]
ProfileName = Annotated[str, typer.Argument(metavar="PROFILE", autocompletion=complete.profiles)]
Limit = Annotated[int, typer.Option(min=1, help="Rows at most.")]


def add(_app: typer.Typer, groups: dict[str, typer.Typer]) -> None:
    register(groups["template"], "list")(list_templates)
    register(groups["template"], "show")(show_template)
    register(groups["profile"], "list")(list_profiles)
    register(groups["profile"], "show")(show_profile)


def list_templates(cli: Cli, limit: Limit = 200, as_json: Json = False) -> None:
    """List the templates, and the files that are skipped with file, line and reason."""
    page = _page(cli, TEMPLATES, limit)
    if as_json:
        output.say_json(page)
        return
    rows = [
        (
            row["name"],
            row["pane_count"],
            " ".join(slot["slot"] for slot in row["panes"]),
            " ".join(dict.fromkeys(slot["launch"] for slot in row["panes"])),
            _source(row),
        )
        for row in page["items"]
    ]
    output.table(("NAME", "PANES", "SLOTS", "LAUNCH", "FROM"), rows, wide=("SLOTS", "LAUNCH", "FROM"))
    _print_problems(page["problems"])
    output.more(page)


def show_template(cli: Cli, name: TemplateName, as_json: Json = False) -> None:
    """Show one template, pane by pane; SLOT is what `layout create --override` takes."""
    found = _one(cli, TEMPLATES, name)
    if as_json:
        output.say_json(found)
        return
    _head("Template", found)
    columns = ("slot", "role", "capability", "label", "launch", "restart")
    rows = [tuple(slot[column] for column in columns) for slot in found["panes"]]
    output.table([column.upper() for column in columns], rows, wide=("CAPABILITY", "LAUNCH"))


def list_profiles(cli: Cli, limit: Limit = 200, as_json: Json = False) -> None:
    """List the launch profiles, and the files that are skipped with file, line and reason."""
    page = _page(cli, PROFILES, limit)
    if as_json:
        output.say_json(page)
        return
    rows = [
        (row["name"], shlex.join(row["command"]), " ".join(row["env"]) or "-", row["working_dir"] or "-", _source(row))
        for row in page["items"]
    ]
    output.table(("NAME", "COMMAND", "ENV", "WORKING DIR", "FROM"), rows, wide=("COMMAND", "ENV", "FROM"))
    _print_problems(page["problems"])
    output.more(page)


def show_profile(cli: Cli, name: ProfileName, as_json: Json = False) -> None:
    """Show one launch profile; values that look like secrets are not shown."""
    from rich.table import Table
    from rich.text import Text

    found = _one(cli, PROFILES, name)
    if as_json:
        output.say_json(found)
        return
    _head("Launch profile", found)
    grid = Table.grid(padding=(0, 2))
    grid.add_column(no_wrap=True)
    grid.add_column(overflow="fold")
    grid.add_row("command", Text(shlex.join(found["command"])))
    if found["resume"]:
        grid.add_row("resume", Text(shlex.join(found["resume"])))
    for key, value in found["env"].items():
        grid.add_row("env", Text(f"{key}={value}"))
    if found["working_dir"]:
        grid.add_row("working dir", Text(found["working_dir"]))
    grid.add_row("digest", found["digest"])
    output.write(grid, output.console())


def read_files() -> "Catalogue":
    """What the files of this user's configuration say now."""
    from adapters.files.launching import LaunchFolders
    from adapters.paths import default_config_dir
    from adapters.system import SystemClock

    return LaunchFolders(default_config_dir(), SystemClock()).look()


def _page(cli: Cli, path: str, limit: int) -> dict[str, Any]:
    if cli.place.running() is not None:
        return output.page(cli.queries, path, limit=limit)
    from adapters.files.launch_rows import profile_rows, template_rows

    listed = (template_rows if path == TEMPLATES else profile_rows)(read_files())
    more = len(listed.rows) > limit
    return {
        "items": list(listed.rows[:limit]),
        "next_cursor": listed.rows[limit - 1]["id"] if more else None,
        "position": None,
        "problems": list(listed.problems),
    }


def _one(cli: Cli, path: str, name: str) -> Row:
    """By name. Raises `Failure` with the tower's own code for an unknown one, and says which files are skipped."""
    page = _page(cli, path, 100_000)
    found = next((row for row in page["items"] if row["id"] == name), None)
    if found is not None:
        return found
    for problem in page["problems"]:
        output.note(f"skipped: {_where(problem)}: {problem['reason']}")
    known = [row["id"] for row in page["items"]]
    if path == TEMPLATES:
        code, what, details = (
            "managed_template_not_found",
            "template",
            {"template_name": name, "known_templates": known},
        )
    else:
        code, what = "managed_launch_command_not_found", "launch profile"
        details = {"profile_name": name, "known_profiles": known}
    raise rejected({"code": code, "message": f"no {what} {name!r}", "details": details})


def _head(what: str, row: Row) -> None:
    from rich.text import Text

    source = "built in" if row["file"] is None else f"from {row['file']}"
    output.write(Text.assemble(f"{what} ", (row["name"], "bold"), f", {source}\n"), output.console())


def _source(row: Row) -> str:
    return row["file"] or "built in"


def _where(problem: Row) -> str:
    return problem["file"] if problem["line"] is None else f"{problem['file']}:{problem['line']}"


def _print_problems(problems: list[Row]) -> None:
    if not problems:
        return
    output.say()
    output.table(
        ("SKIPPED", "WHY"),
        [(_where(problem), problem["reason"]) for problem in problems],
        wide=("SKIPPED", "WHY"),
        wrap=True,
    )
