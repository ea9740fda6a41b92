"""Block 1: a handle -> a model artifact."""
