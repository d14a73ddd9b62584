"""Publishing: what leaves the machine; nothing private is in it."""
