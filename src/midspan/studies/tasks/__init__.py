"""Task studies: several models on the same benchmark items, compared in pairs."""
