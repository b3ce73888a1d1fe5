"""The boto data path and the control plane: requests that go through aiobotocore."""
