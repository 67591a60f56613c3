"""What each log command prints, and how it gets it."""
