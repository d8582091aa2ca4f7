"""python -m unrolled is the command unrolled."""

from .cli import main

main()
