"""The ways to S3: each one verbs in, answers or `apm_s3` errors out, one attempt a call, no retries."""
