"""What speaks HTTP: nothing below this room does."""
