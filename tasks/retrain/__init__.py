"""Block 4: model + rows -> trained classifier, its history and its evaluation."""
