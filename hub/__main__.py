"""``python -m hub`` is ``xoev-hub``."""

from hub.cli import main

if __name__ == "__main__":
    main()
