"""What all tests share: what they write need not outlast a power cut, so nobody waits for the disk."""

import os
import signal

os.fsync = lambda descriptor: None

# Who starts the tests in the background of a shell, or with nohup, has them ignore Ctrl-C, which some tests send.
if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)
