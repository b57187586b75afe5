"""Launch commands of engines: what layout and operating point they mean; one table of flags for reading and writing."""
