"""The paper's protocol: training and cross-validation of its systems, and its tables next to ours."""
