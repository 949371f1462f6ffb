"""Two towers (TFRS): people by what they took, items by what they are, near each other where they belong."""
