"""From files to domain values: YAML and JSON with places, model configs, loads, the catalog."""
