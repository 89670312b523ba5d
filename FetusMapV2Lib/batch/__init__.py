"""Many volumes: the cases of a batch, the processes that estimate them, the journal, one table and one summary page."""
