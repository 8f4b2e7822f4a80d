"""midspan inside inspect-ai, and its runs as inspect's logs."""
