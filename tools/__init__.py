"""Programs for people who work on Todoke; `make` calls them."""
