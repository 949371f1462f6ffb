"""What customers need help with, how fast they get it, and what is said about the shop elsewhere."""
