"""`fetusmap` with the engine and the readers of `deadly_readers`, run as a program with the arguments of `fetusmap`.

The supervisor reads no volume, so only the process that works on the files loads them.
"""

from __future__ import annotations

import os

from FetusMapV2Lib.cli import main
from FetusMapV2Lib.cli.supervisor_link import CONNECTION

if __name__ == "__main__":
    if CONNECTION in os.environ or os.environ.get("FETUSMAP_SUPERVISOR") == "0":
        from deadly_readers import install

        install()
    main()
