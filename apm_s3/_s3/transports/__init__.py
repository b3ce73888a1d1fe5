"""The transports to S3: each call is one attempt of a verb, and returns a result or raises an `apm_s3` error."""
