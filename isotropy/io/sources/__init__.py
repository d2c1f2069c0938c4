"""Rows from folders, tables and servers."""
