"""`python -m tlcore` is the command `tlcore`."""

from tlcore.cli.main import program

program()
