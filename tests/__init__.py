"""The tests of Todoke; docs/guarantees.md says which promise each of them holds."""
