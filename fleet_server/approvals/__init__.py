"""What people allow: approvals of single executions, and shift permits signed in advance."""
