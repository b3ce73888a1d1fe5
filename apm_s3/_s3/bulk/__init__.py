"""Many objects at once: batches, and what is built on them."""
