"""What practitioners and other planners do, to set beside the search; every answer is priced by the reference."""
