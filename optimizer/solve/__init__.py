"""The search: degrees, stages and expert placement."""
