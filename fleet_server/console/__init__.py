"""The HTML door: pages, view models, templates. Asks the domains through their services, as the JSON door does."""
