"""One module a page: an endpoint translates, calls services, and hands a view model to a template."""
