"""The shell command that gets a pane's output: it appends to the log and bounds it, without the tower.

A loop around dd, which hands on what it reads at once and reads no more than it is told to; POSIX sh, dd, ls and mv are
all it needs, busybox's as well. A full log becomes `<log>.1`, in place of the one before. In a folder that is not its
own, a container's user can neither rename nor make files: there the two files that stand are written in turn, and the
one changed last is the log's end.
"""

from typing import Final

from adapters.tmux.quoting import shell_quote

MIB: Final = 1024 * 1024
DEFAULT_MAX_BYTES: Final = 16 * MIB

_BLOCK: Final = 64 * 1024
_BLOCKS: Final = 16
"""Read between two looks at the size, at least; each read may be as short as one key's echo."""

_RENAME: Final = 'mv -f "$f" "$f.1"; t=$f'
_TURN: Final = 'if [ "$t" = "$f" ]; then t=$f.1; else t=$f; fi; : >"$t" || exit 1'
_NEWEST: Final = 'if [ "$f.1" -nt "$f" ]; then t=$f.1; else t=$f; fi'


def make_command(log_path: str) -> str:
    """For /bin/sh: make the log and its missing folder, which only their user may read; fails if it cannot."""
    path = _path(log_path)
    directory = shell_quote(path.rpartition("/")[0] or "/")
    return f"umask 077; [ -d {directory} ] || mkdir -p {directory}; : >>{shell_quote(path)}"


def pipe_command(log_path: str, max_bytes: int, *, own_folder: bool = True) -> str:
    """For /bin/sh. The log and its missing folder are its user's alone; it holds at most `max_bytes` (2 MiB or more),
    and so does its predecessor."""
    begin, rotate = ("t=$f", _RENAME) if own_folder else (_NEWEST, _TURN)
    full = max_bytes - _BLOCKS * _BLOCK
    return "\n".join(
        (
            f"{make_command(log_path)} || exit 1",
            f"LC_ALL=C; export LC_ALL; f={shell_quote(_path(log_path))}",
            'command -v dd >/dev/null 2>&1 || exec cat >>"$f"',
            f"{begin}; n='",
            "'",
            'while : >>"$t"; do',
            'set -- $(ls -ln "$t"); s=${5:-0}',
            f'if [ "$s" -ge {full} ]; then {rotate}; s=0; fi',
            f"c=$((({full} - s) / {_BLOCK})); [ $c -ge {_BLOCKS} ] || c={_BLOCKS}",
            f'r=$(dd bs={_BLOCK} count=$c 2>&1 >>"$t")',
            # The end of the input. What dd says of a full disk has other numbers: there it goes on.
            'case "$n$r" in *"${n}0+0 records in"*) exit ;; esac',
            "done",
        )
    )


def _path(log_path: str) -> str:
    """A relative one must not look like an option."""
    return log_path if log_path.startswith("/") else f"./{log_path}"
