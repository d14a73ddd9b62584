"""What people read: the table in the terminal, the page and the Markdown summary."""
