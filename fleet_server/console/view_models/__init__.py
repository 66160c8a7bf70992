"""From rows and declarations to what a page shows, in words. Pure: no request, no database, no clock of their own."""
