"""The pose engine in a process of its own: client, worker, and the messages between them."""
