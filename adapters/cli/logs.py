"""`agenttower pane logs`: the log file of a pane, its end or as it grows."""

import os
import sys
import threading
from pathlib import Path
from typing import Annotated, BinaryIO, Final

import typer

from adapters.cli import output, references
from adapters.cli.command import Cli, Json
from adapters.cli.failures import Failure
from adapters.cli.panes import PaneReference

BLOCK_BYTES: Final = 64 * 1024
LOOK_AGAIN_S: Final = 1.0
"""A belt: on file systems that tell of no changes, the file is looked at this often."""


def logs(
    cli: Cli,
    pane: PaneReference,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on with what is printed from now on.")] = False,
    lines: Annotated[int, typer.Option("--lines", "-n", min=0, help="Lines from the end; 0 for none.")] = 100,
    as_json: Json = False,
) -> None:
    """Print what a pane printed, terminal sequences included."""
    if follow and as_json:
        raise typer.BadParameter("--json does not go with --follow", param_hint="--follow")
    found = references.pane(cli.queries, pane)
    cli.place.need_files()
    if not found.get("log_path"):
        raise Failure(f"pane {found['id']} has no log: it is {found['state']}", "a log is attached once a pane runs")
    path = Path(found["log_path"])
    try:
        with path.open("rb") as file:
            end = last_lines(file, lines)
            if as_json:
                text = end.decode("utf-8", "replace")
                output.say_json({"pane_id": found["id"], "path": str(path), "lines": text.splitlines()})
                return
            _emit(end)
            start = (file.tell(), os.fstat(file.fileno()).st_ino)
    except FileNotFoundError as error:
        raise Failure(f"the log {path} of pane {found['id']} is gone") from error
    except PermissionError as error:
        raise Failure(f"the log {path} cannot be read", "run this as the tower's user") from error
    if follow:
        _follow(path, *start)


def last_lines(file: BinaryIO, count: int) -> bytes:
    """The last `count` lines of a file; its position is the end afterwards."""
    at = file.seek(0, os.SEEK_END)
    parts: list[bytes] = []
    newlines = 0
    # One more than asked for: the text behind the last newline is a line only if it is not empty.
    while at > 0 and newlines <= count and count:
        size = min(BLOCK_BYTES, at)
        at -= size
        file.seek(at)
        parts.append(file.read(size))
        newlines += parts[-1].count(b"\n")
    file.seek(0, os.SEEK_END)
    return b"".join(b"".join(reversed(parts)).splitlines(keepends=True)[-count:]) if count else b""


def _follow(path: Path, offset: int, inode: int) -> None:
    """Print what comes, also across a rotation, until interrupted."""
    from watchdog.events import FileSystemEvent, FileSystemEventHandler
    from watchdog.observers import Observer

    changed = threading.Event()

    class Changed(FileSystemEventHandler):
        def on_any_event(self, event: FileSystemEvent) -> None:
            changed.set()

    observer = Observer()
    observer.schedule(Changed(), str(path.parent))
    observer.start()
    try:
        while True:
            changed.clear()
            offset, inode = _print_new(path, offset, inode)
            changed.wait(LOOK_AGAIN_S)
    finally:
        observer.stop()
        observer.join()


def _print_new(path: Path, offset: int, inode: int) -> tuple[int, int]:
    try:
        with path.open("rb") as file:
            found = os.fstat(file.fileno())
            if found.st_ino != inode or found.st_size < offset:
                offset, inode = 0, found.st_ino
            file.seek(offset)
            while block := file.read(BLOCK_BYTES):
                _emit(block)
            return file.tell(), inode
    except FileNotFoundError:
        return offset, inode


def _emit(data: bytes) -> None:
    sys.stdout.buffer.write(data)
    sys.stdout.buffer.flush()
