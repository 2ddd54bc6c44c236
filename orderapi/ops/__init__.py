"""What the commands do, without their arguments and their output. Each command has one file."""
