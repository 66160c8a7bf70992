"""What tests of several packages start or stand on."""
