"""What brought the conversions: paths of touchpoints, and models that share the credit; exact, in any order of rows."""
