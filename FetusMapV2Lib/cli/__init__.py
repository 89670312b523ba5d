"""The `fetusmap` command: one file per command, and what commands share."""


def main() -> None:
    """Run `fetusmap` with the arguments of this process; ends the process."""
    from FetusMapV2Lib.cli.app import main as run

    run()
