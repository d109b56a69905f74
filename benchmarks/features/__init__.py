"""What the windows cost and what they hold out: speed, memory, rotation, snapshots, kill -9. See ``__main__``."""
