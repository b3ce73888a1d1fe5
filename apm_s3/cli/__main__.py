"""`python -m apm_s3.cli`."""

from apm_s3.cli import main

main()
