"""`python -m tlcore` is the command `tlcore`."""

from tlcore.cli import main

main()
