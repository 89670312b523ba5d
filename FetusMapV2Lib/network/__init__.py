"""The 3D UNet and the heatmaps it learns: encoding landmarks into targets and decoding them again."""
