"""`python -m commonhold.cli` is `commonhold`."""

from commonhold.cli import main

main()
