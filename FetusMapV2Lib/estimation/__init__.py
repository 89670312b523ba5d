"""From a volume to a pose: the model file, the views the network is shown, and the engine that runs it."""
