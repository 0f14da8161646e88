"""Ready configurations; the header of each states its command, time and result."""
