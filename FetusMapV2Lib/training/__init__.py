"""Training a pose network from a folder of cases: presets, losses, samples and the fitting loop."""
