"""Red-team studies: attacks on models, judged, with costs and the paper's cells beside."""
