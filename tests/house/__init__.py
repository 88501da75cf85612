"""The rules of the house that no linter knows. Each fails with a sentence that says what to do instead."""
