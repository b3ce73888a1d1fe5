"""Operations on many objects: batches, and syncs based on them."""
