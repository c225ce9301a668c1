"""The parts of `side-by-side`: commands, measuring, quality, and the longer runs."""
