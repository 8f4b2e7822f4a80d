"""What every run has, whatever it measures.

``folder`` (whose it is, what it holds), ``machine`` (versions, hardware, revision), ``progress``,
``kinds`` (what can be done with a finished run), ``compare`` (two runs), ``cards`` (what a study
measured of an adapter).
"""
