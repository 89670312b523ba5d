"""The paper's own schemes: Kusumoto's partition, reversible blocks, and the framework that combines them."""
