"""From checkpoints to a judged, published and explained result, and the decisions of persons on it."""
