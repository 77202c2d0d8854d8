"""`python -m deepmem.cli`."""

from deepmem.cli.main import main

if __name__ == "__main__":
    main()
