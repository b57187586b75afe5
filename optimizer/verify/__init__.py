"""Judge a layout and its claims with the reference alone."""
