"""``python -m isotropy``: the command, where the script is not on the path."""

from isotropy.cli import main

main()
