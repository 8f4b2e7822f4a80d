"""``python -m midspan`` is the command ``midspan``, where its script is not on the path."""

from midspan.cli import main

if __name__ == "__main__":
    main()
