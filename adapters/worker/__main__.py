"""`python adapters/worker CONFIG`: serves one session on a socket that the parent made.

CONFIG is JSON, see `serving.Config`. The folder is taken off `sys.path` before anything else runs: the user's own
modules come first, and ours stand under `_agenttower_worker`.
"""

import json
import os
import sys
from types import ModuleType


def main() -> None:
    here = os.path.dirname(os.path.abspath(__file__))
    package = ModuleType("_agenttower_worker")
    package.__path__ = [here]
    sys.modules[package.__name__] = package
    from _agenttower_worker.serving import Config, serve  # pyright: ignore[reportMissingImports]

    serve(Config(**json.loads(sys.argv[1])))


if __name__ == "__main__":
    main()
