"""A container's file system out of this machine's own programs and the libraries that they load: no registry needed."""

import shutil
import subprocess
from pathlib import Path

PROGRAMS = (
    "bash",
    "cat",
    "env",
    "id",
    "kill",
    "ls",
    "mkdir",
    "ps",
    "rm",
    "sh",
    "sleep",
    "stty",
    "tail",
    "tmux",
    "touch",
)
IF_THERE = ("curl",)
"""Left out where this machine has none; who needs one says so."""

USERS = {"root": (0, "/root"), "dev": (1000, "/home/dev")}


def build(root: Path, *, without: tuple[str, ...] = ()) -> None:
    """Fill an empty folder: the programs but those in `without`, two users, a UTF-8 locale."""
    for folder in ("dev", "etc", "home/dev", "proc", "root", "run", "sys", "tmp", "usr/bin", "usr/lib/locale", "var"):
        (root / folder).mkdir(parents=True, exist_ok=True)
    (root / "tmp").chmod(0o1777)
    shutil.chown(root / "home/dev", *(USERS["dev"][0],) * 2)
    (root / "bin").symlink_to("usr/bin")
    libraries: set[Path] = set()
    for name in {*PROGRAMS, *filter(shutil.which, IF_THERE)} - set(without):
        found = shutil.which(name)
        assert found is not None, f"{name} is missing here"
        program = Path(found).resolve()
        shutil.copy2(program, root / "usr/bin" / name)
        libraries |= _libraries(program)
    for library in libraries:
        target = root / str(library).lstrip("/")
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(library.resolve(), target)
    locale = Path("/usr/lib/locale/C.utf8")
    if locale.is_dir():
        shutil.copytree(locale, root / "usr/lib/locale/C.utf8", dirs_exist_ok=True)
    (root / "etc/passwd").write_text("".join(f"{n}:x:{i}:{i}::{home}:/bin/sh\n" for n, (i, home) in USERS.items()))
    (root / "etc/group").write_text("".join(f"{name}:x:{number}:\n" for name, (number, _) in USERS.items()))


def _libraries(program: Path) -> set[Path]:
    """What the dynamic loader would load, and the loader."""
    listed = subprocess.run(["ldd", str(program)], capture_output=True, text=True, check=True, timeout=30).stdout
    return {Path(word) for word in listed.split() if word.startswith("/")}
