"""What the agent decides, without doing any of it: told what happened and when, it answers what to do."""
