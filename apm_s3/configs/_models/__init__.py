"""What the documents of a store say, as frozen values: releases, the current state, the log, settings."""
