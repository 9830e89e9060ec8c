"""An adapter and a step for xoev-hub, as a package of its own. Imports ``hub.plugin`` and nothing else of the hub."""
