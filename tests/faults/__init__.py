"""The whole product in processes, and everything that may break it."""
