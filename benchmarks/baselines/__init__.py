"""Published heuristics, written anew from their descriptions, to set beside the solver."""
