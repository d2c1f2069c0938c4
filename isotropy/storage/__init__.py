"""Fitted state as safetensors; files and folders that appear whole or not at all."""
