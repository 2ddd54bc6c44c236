"""An HTTP order service with exactly-once effects."""
