"""Configurations in S3: releases, and the one atomic write by which they become visible."""
