"""Rows of embeddings of any kind, through one door."""
