"""What the data means: contracts, kernels and the Beam transforms that wire them."""
