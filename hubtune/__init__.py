"""The small library under hubtune's pipeline: storage, inference, errors and the command line."""

__version__ = "0.1.0"
