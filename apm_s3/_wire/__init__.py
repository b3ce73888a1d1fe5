"""S3's wire formats: signatures, documents, checksums, part plans. Pure, without I/O."""
