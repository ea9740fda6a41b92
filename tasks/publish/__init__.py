"""Block 5: a trained classifier -> a proven release, and a version of the model's name."""
