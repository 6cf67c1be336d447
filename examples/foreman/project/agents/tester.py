"""Tests what was done for an issue, and closes it: the program says what its title asks for."""

import re
import subprocess
import sys
from pathlib import Path

found = re.fullmatch(r"Test what was done for issue (\w+)", sys.stdin.read().strip())
if found is None:
    sys.exit("this agent tests issues only")
(issue_id,) = found.groups()
file = Path("issues", f"{issue_id}.md")
issue = file.read_text()
wanted = re.search(r"^title: (.+)$", issue, re.MULTILINE)
said = subprocess.run([sys.executable, f"work/issue_{issue_id}.py"], capture_output=True, text=True, check=True)
if wanted is None or said.stdout.strip() != wanted[1]:
    sys.exit(f"issue {issue_id}: the program says {said.stdout.strip()!r}")
# Whole or not at all: somebody may be reading it.
closed = file.with_suffix(".new")
closed.write_text(issue.replace("state: open", "state: closed"))
closed.replace(file)
print(f"Issue {issue_id} is resolved.")
