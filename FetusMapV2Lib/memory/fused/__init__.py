"""What surrounds a convolution as one pass over its tensor: Triton kernels for channels-last tensors on a GPU."""
