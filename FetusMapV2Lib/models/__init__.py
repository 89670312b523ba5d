"""Models: the model file, the index of models, the pose library and the calibration."""
