"""The memory benchmark: schemes side by side, measured on fake tensors, on the CPU and on a GPU."""
