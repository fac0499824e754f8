"""The wire contract: what ImBox asks and what it gets. Imports nothing of `imbox_plugin`."""
