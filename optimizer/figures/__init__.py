"""The reference: exact scalar arithmetic, one file for each subject."""
