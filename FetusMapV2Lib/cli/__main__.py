"""`python -m FetusMapV2Lib.cli`: the `fetusmap` command where no script of that name is installed."""

from FetusMapV2Lib.cli import main

if __name__ == "__main__":
    main()
