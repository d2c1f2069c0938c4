"""Jobs that are killed, starved, cut off and lied to, run again, and counted row by row."""
