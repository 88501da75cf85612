"""The services of Todoke. They share `careplan`, the event catalogue and HTTP, and never import each other."""
