"""Bronze: each row as it came, typed by its contract, in an envelope that says where it came from."""
