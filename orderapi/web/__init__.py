"""HTTP: one file per resource, and what all of them share."""
