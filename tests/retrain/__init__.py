"""Tests of block 4."""
