"""From a volume to a pose: the engine, the views it gives the network, decoding, refinement and sequences."""
