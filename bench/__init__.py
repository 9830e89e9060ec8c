"""How fast the hub is, and what it costs: `make bench`. Ratios of interleaved runs; see README.md."""
