"""The deployment's own steps in Python. What lies here becomes part of the snapshot."""
