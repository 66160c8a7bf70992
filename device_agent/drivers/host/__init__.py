"""The Linux machine that the agent itself runs on, as a device with readings and checks of its own."""
