"""Dry runs of playbooks: walked on a simulated device on virtual time, so that what would happen is seen beforehand."""
