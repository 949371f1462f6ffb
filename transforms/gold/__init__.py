"""What the business asks about its customers; kernels over silver, one row a customer."""
