"""Rows + trained classifier -> how good it is, from its answers alone: figures for programs, a report for people."""
