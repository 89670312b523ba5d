"""Training and inference under a memory budget: units of a network, plans, the executor, and meters."""
