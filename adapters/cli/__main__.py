"""`python -m adapters.cli` is `agenttower`."""

from adapters.cli.main import main

main()
