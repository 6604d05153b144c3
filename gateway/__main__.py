"""`python -m aupgate`."""

from aupgate.cli import main

if __name__ == "__main__":
    main()
