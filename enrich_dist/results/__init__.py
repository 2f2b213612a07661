"""From checkpoints to a judged, published and explained result, with human review decisions."""
