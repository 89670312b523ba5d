"""The bundled presets: one JSON file each, read by `training.preset.load_preset`."""
