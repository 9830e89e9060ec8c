"""The corpus of official releases and real messages, and its schemas under the shipped profiles."""

from bench.official import CORPUS, OFFICIAL, SCHEMAS, XMELD, Official, catalog, instances, real, umbrella

__all__ = ["CORPUS", "OFFICIAL", "SCHEMAS", "XMELD", "Official", "catalog", "instances", "real", "umbrella"]
