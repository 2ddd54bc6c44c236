"""The benchmark: this service beside other stacks that do the same work."""
