"""Files and commands that engines load."""
