"""The integer program over fleets, exactly: columns, constraint families, and what multipliers prove; no solver."""
