"""`python -m trimtab`, and what torchrun starts."""

from trimtab.cli.app import main

main()
