"""What all tests share: what they write need not outlast a power cut, so nobody waits for the disk."""

import os
import signal
from pathlib import Path

import pytest

os.fsync = lambda descriptor: None

# Who starts the tests in the background of a shell, or with nohup, has them ignore Ctrl-C, which some tests send.
if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session", autouse=True)
def own_data_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A user without models, whoever runs the tests; the folder does not exist."""
    folder = tmp_path_factory.getbasetemp() / "no user data"
    os.environ["FETUSMAPV2_DATA"] = str(folder)
    return folder
