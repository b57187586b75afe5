"""The finite lattice of layouts, its vectorised twin, and branch and bound over it."""
