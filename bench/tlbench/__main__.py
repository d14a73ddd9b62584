"""`python -m tlbench`: the command, by a chosen interpreter."""

from tlbench.cli import main

if __name__ == "__main__":
    main(prog_name="tlbench")
