"""The kit over engines, in a topology that exists in tests only."""
