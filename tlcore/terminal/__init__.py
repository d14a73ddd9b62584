"""Terminal: what is shown of a work in progress and of the words of others."""
