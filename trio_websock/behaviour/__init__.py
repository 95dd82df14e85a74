"""What a handler is and what its results mean: pure, without Trio and without a wire."""
