"""Part of block 3: how far the rows of a run are from those that the latest published version was trained on."""
