"""The section of each probe on its page; one file a probe, named as in `midspan.probes`."""
