"""Development tools: generators and gates."""
