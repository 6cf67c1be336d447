"""`python -m adapters.schemas` writes `schemas/`; with `--check` it says what is not current, and ends with 1."""

import sys
from collections.abc import Sequence

from adapters.schemas.files import FOLDER, differences, write


def main(arguments: Sequence[str]) -> int:
    if arguments not in ([], ["--check"]):
        sys.stderr.write("usage: python -m adapters.schemas [--check]\n")
        return 2
    if not arguments:
        write(FOLDER)
        return 0
    found = differences(FOLDER)
    sys.stderr.writelines(f"schemas/{line}; run python -m adapters.schemas\n" for line in found)
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
