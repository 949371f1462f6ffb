"""The only package that knows a storage system."""
