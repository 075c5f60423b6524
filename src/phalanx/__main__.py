"""`python -m phalanx`: the command line without its script."""

from phalanx.cli.main import main

if __name__ == "__main__":
    main()
