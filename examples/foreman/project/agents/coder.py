"""Stands for a coding agent: is given "Resolve issue 1: Say hello", and writes a program that says so."""

import re
import sys
from pathlib import Path

found = re.fullmatch(r"Resolve issue (\w+): (.+)", sys.stdin.read().strip())
if found is None:
    sys.exit("this agent resolves issues only")
issue_id, title = found.groups()
program = Path("work", f"issue_{issue_id}.py")
program.parent.mkdir(exist_ok=True)
program.write_text(f"print({title!r})\n")
print(f"Wrote {program}.")
