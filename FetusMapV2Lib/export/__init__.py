"""Everything that is written of an estimate."""
