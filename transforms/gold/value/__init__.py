"""What a customer will be worth: models of buying till one stops, learned ones, naive ones, and their contest."""
