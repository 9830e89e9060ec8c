"""The configuration: text becomes a checked deployment, or all problems of one run."""

from hub.config.build import Reading, load, read
from hub.config.init import init
from hub.config.matrix import matrix
from hub.config.origin import Origin, origin
from hub.config.schema import json_schema

__all__ = ["Origin", "Reading", "init", "json_schema", "load", "matrix", "origin", "read"]
