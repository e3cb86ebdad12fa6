"""`python -m speechgen` is the same as `speechgen`."""

from speechgen.cli.main import main

if __name__ == "__main__":
    main()
