"""What no placement of experts goes below: bounds that anyone can compute again from a witness."""
