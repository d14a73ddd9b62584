"""Results on a git branch of their own, which many machines read and write."""
