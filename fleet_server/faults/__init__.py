"""What is or was wrong with a device, from raising to clearing."""
