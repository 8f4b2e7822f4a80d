"""Replies computed once: the journal, ranks of processes, journalled generation."""
