"""What the user writes: models, hardware, problems, layouts and claims."""
