"""The XÖV hub: takes messages in, keeps them, brings them to specialist procedures."""
