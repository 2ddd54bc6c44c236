"""The benchmark: this service beside what else one would pick, doing the same work."""
