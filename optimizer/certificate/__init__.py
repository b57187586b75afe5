"""What is claimed, with its witnesses, and the checker of it."""
