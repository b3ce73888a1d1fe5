"""S3 on the wire: signing, documents, checksums, part plans. Pure: nothing here does I/O."""
