"""What the engine tells of itself: logs and metrics."""
