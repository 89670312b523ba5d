"""A simulated world of its own: bodies, surroundings and images of them share no code with the bundled simulators."""
