"""What every room may use: clear errors, whole-or-nothing file writing, bundled resources, progress."""
