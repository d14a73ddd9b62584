"""Doctor: which known defects the installed stack has. Knows no other wing."""
