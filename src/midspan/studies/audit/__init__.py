"""The audit: a battery of attacks at each access level, its price beside it, on one page."""
